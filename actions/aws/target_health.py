"""The targets of a target group by (id, port), with their health as the load balancer sees it.

A target is "registered" on a port of its own or on its group's, by instance or by address; one
instance may be several targets. Only `draining` targets and those that are not registered get no
new connections for that reason: `unused` with the reason Target.NotInUse is registered in a group
that no listener forwards to, and `unavailable` is a target whose health checks are disabled, which
gets traffic.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from actions.aws.client_set import Aws
from actions.aws.instances import INSTANCE_ID, find_by_addresses

# EC2 takes this many values for one filter.
_VALUES_MAX = 200
_UNITS = ("count", "percentage")


@dataclass(frozen=True, kw_only=True)
class Target:
    """`instance` is the id of the instance that has the target's address; empty where none has.

    `port` is None for a target without one. `zone` is "all" for an address outside of the VPC.
    """

    id: str
    port: int | None
    state: str
    reason: str = ""
    zone: str = ""
    instance: str = ""

    @property
    def registered(self) -> bool:
        unknown = self.state == "unused" and self.reason == "Target.NotRegistered"
        return self.state != "draining" and not unknown

    @property
    def used(self) -> bool:
        """Whether a listener forwards to its group."""
        return self.reason != "Target.NotInUse"

    @property
    def serves(self) -> bool:
        return self.state in {"healthy", "unavailable"}


def read_targets(aws: Aws, arn: str) -> Sequence[Target]:
    """The targets of a target group, with the instance of each. Raises botocore's errors."""
    answer = aws.elbv2.describe_target_health(TargetGroupArn=arn)
    described = [
        (health.get("Target", {}), health.get("TargetHealth", {}))
        for health in answer["TargetHealthDescriptions"]
    ]
    others = {target.get("Id", "") for target, _ in described if not _is_instance(target)}
    instances = dict(_instances_by_address(aws, {id_ for id_ in others if _is_address(id_)}))
    return [
        Target(
            id=target.get("Id", ""),
            port=target.get("Port"),
            state=health.get("State", ""),
            reason=health.get("Reason", ""),
            zone=target.get("AvailabilityZone", ""),
            instance=target.get("Id", "")
            if _is_instance(target)
            else instances.get(target.get("Id", ""), ""),
        )
        for target, health in described
    ]


def read_target_health(aws: Aws, arn: str) -> tuple[frozenset[str], frozenset[str]]:
    """Registered instances of a target group, and those of them whose every target serves.

    A target of no known instance counts under its own id. A group that no listener forwards to
    serves nobody, and has none.
    """
    by_instance: dict[str, list[Target]] = {}
    for target in read_targets(aws, arn):
        if target.registered and target.used:
            by_instance.setdefault(target.instance or target.id, []).append(target)
    serving = (
        name for name, targets in by_instance.items() if all(target.serves for target in targets)
    )
    return frozenset(by_instance), frozenset(serving)


def read_attributes(aws: Aws, arn: str) -> Mapping[str, str]:
    """The attributes of a target group, by their keys. Raises botocore's errors.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
    """
    answer = aws.elbv2.describe_target_group_attributes(TargetGroupArn=arn)
    return {
        attribute.get("Key", ""): attribute.get("Value", "") for attribute in answer["Attributes"]
    }


def least_healthy(attributes: Mapping[str, str], registered: int) -> int:
    """How many of so many targets must be healthy for all traffic to go to healthy ones.

    With fewer the load balancer sends it to the ill ones, too, or takes the zone out of its name.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health.html
    """
    least = 1
    for failover in ("dns_failover", "unhealthy_state_routing"):
        name = f"target_group_health.{failover}.minimum_healthy_targets"
        count, percentage = (
            int(value) if value.isdigit() else 0
            for value in (attributes.get(f"{name}.{unit}", "off") for unit in _UNITS)
        )
        least = max(least, count, math.ceil(registered * percentage / 100))
    return least


def counts_by_zone(attributes: Mapping[str, str]) -> bool:
    """Whether each zone counts its own targets alone.

    Where the load balancer decides, whose settings are not read: those of a network load balancer,
    which alone knows the second attribute, as it crosses no zones by default.
    """
    crosses = attributes.get("load_balancing.cross_zone.enabled")
    return crosses == "false" or (crosses != "true" and "proxy_protocol_v2.enabled" in attributes)


def _instances_by_address(aws: Aws, addresses: Collection[str]) -> Iterator[tuple[str, str]]:
    ordered = sorted(addresses)
    for first in range(0, len(ordered), _VALUES_MAX):
        asked = ordered[first : first + _VALUES_MAX]
        for instance in find_by_addresses(aws, asked):
            for address in instance.addresses.intersection(asked):
                yield address, instance.id


def _is_instance(target: Mapping[str, object]) -> bool:
    return INSTANCE_ID.fullmatch(str(target.get("Id", ""))) is not None


def _is_address(target_id: str) -> bool:
    """Not the ARN of a function or of another load balancer."""
    return target_id != "" and not target_id.startswith("arn:")
