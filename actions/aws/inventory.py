"""What AWS says of an instance or a group, read by id and checked before it is believed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actions.aws.clients import Aws

if TYPE_CHECKING:
    from types_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef as GroupTypeDef
    from types_boto3_autoscaling.type_defs import InstanceTypeDef as MemberTypeDef
    from types_boto3_ec2.type_defs import InstanceTypeDef

INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,254}")
# Only what carries it, as "true", is ever acted on.
OPT_IN_TAG = "smartcloudops:remediate"
# Marks an instance in quarantine, and the snapshots of its disks.
QUARANTINE_TAG = "smartcloudops:quarantined"
GROUP_TAG = "aws:autoscaling:groupName"
# A group that carries it, as "true", is a critical service.
CRITICAL_TAG = "smartcloudops:critical"


class NotActionableError(Exception):
    """The target does not exist, or is in no state for the action: nothing was done."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    id: str
    state: str
    launched_at: float
    group: str | None
    az: str
    tags: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Member:
    """An instance as its group sees it; `version` is that of its launch template.

    `protected`: its group may not choose it when it scales in.
    """

    id: str
    az: str
    lifecycle: str
    healthy: bool
    version: str | None = None
    protected: bool = False

    @property
    def serves(self) -> bool:
        return self.lifecycle == "InService" and self.healthy


@dataclass(frozen=True, kw_only=True)
class Group:
    """`target_groups` are ARNs, `suspended` the names of suspended processes."""

    name: str
    minimum: int
    maximum: int
    desired: int
    members: Mapping[str, Member]
    target_groups: tuple[str, ...] = ()
    suspended: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_service(self) -> frozenset[str]:
        """Ids of the members that AWS counts as in service and healthy."""
        return frozenset(one.id for one in self.members.values() if one.serves)


def read_instance(aws: Aws, instance_id: str) -> Instance:
    """The instance with just this id.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    # An empty filter means "all of them" to AWS: an id that is none never gets there.
    if not INSTANCE_ID.fullmatch(instance_id):
        raise NotActionableError(f"{instance_id!r} is no instance id")
    found = _described(aws, Filters=[{"Name": "instance-id", "Values": [instance_id]}])
    if len(found) != 1:
        raise NotActionableError(f"{instance_id} does not exist")
    return found[0]


def find_by_private_address(aws: Aws, address: str) -> Instance | None:
    """The one live instance with this private IPv4 address; None where none or several have it."""
    live = ["pending", "running", "stopping", "stopped"]
    found = _described(
        aws,
        Filters=[
            {"Name": "private-ip-address", "Values": [address]},
            {"Name": "instance-state-name", "Values": live},
        ],
    )
    return found[0] if len(found) == 1 else None


def read_group(aws: Aws, name: str) -> Group:
    """The Auto Scaling group of just this name.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is no name of an Auto Scaling group")
    answer = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    if len(answer["AutoScalingGroups"]) != 1:
        raise NotActionableError(f"Auto Scaling group {name} does not exist")
    return _group(answer["AutoScalingGroups"][0])


def read_groups(aws: Aws) -> Sequence[Group]:
    """Every Auto Scaling group of the region, by name. botocore's errors pass through."""
    pages = aws.autoscaling.get_paginator("describe_auto_scaling_groups").paginate()
    found = [_group(one) for page in pages for one in page["AutoScalingGroups"]]
    return sorted(found, key=lambda one: one.name)


def read_group_instances(aws: Aws, name: str) -> Sequence[Instance]:
    """The live instances of a group, with their tags. botocore's errors pass through."""
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is no name of an Auto Scaling group")
    live = ["pending", "running", "stopping", "stopped"]
    return _described(
        aws,
        Filters=[
            {"Name": f"tag:{GROUP_TAG}", "Values": [name]},
            {"Name": "instance-state-name", "Values": live},
        ],
    )


def read_member(aws: Aws, instance_id: str) -> tuple[Group, Member]:
    """The instance's group, and how the group sees it.

    Raises NotActionableError where it is in none; botocore's errors pass through.
    """
    named = read_instance(aws, instance_id).group
    if named is None:
        raise NotActionableError(f"{instance_id} is in no Auto Scaling group")
    found = read_group(aws, named)
    if instance_id not in found.members:
        raise NotActionableError(f"{instance_id} is not a member of {named} any more")
    return found, found.members[instance_id]


def _group(found: "GroupTypeDef") -> Group:
    members = [_member(one) for one in found.get("Instances", [])]
    return Group(
        name=found["AutoScalingGroupName"],
        minimum=found["MinSize"],
        maximum=found["MaxSize"],
        desired=found["DesiredCapacity"],
        members={one.id: one for one in members},
        target_groups=tuple(found.get("TargetGroupARNs", [])),
        suspended=frozenset(
            one.get("ProcessName", "") for one in found.get("SuspendedProcesses", [])
        ),
        tags={tag.get("Key", ""): tag.get("Value", "") for tag in found.get("Tags", [])},
    )


def _member(found: "MemberTypeDef") -> Member:
    template = found.get("LaunchTemplate") or {}
    return Member(
        id=found["InstanceId"],
        az=found["AvailabilityZone"],
        lifecycle=found["LifecycleState"],
        healthy=found["HealthStatus"].lower() == "healthy",
        version=template.get("Version"),
        protected=found.get("ProtectedFromScaleIn", False),
    )


def _described(aws: Aws, **query: list[dict[str, str | list[str]]]) -> list[Instance]:
    answer = aws.ec2.describe_instances(**query)  # type: ignore[arg-type] # the stubs want literals
    return [_instance(i) for r in answer["Reservations"] for i in r.get("Instances", [])]


def _instance(found: "InstanceTypeDef") -> Instance:
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
    return Instance(
        id=found["InstanceId"],
        state=found["State"]["Name"],
        launched_at=found["LaunchTime"].timestamp(),
        group=tags.get(GROUP_TAG),
        az=found["Placement"]["AvailabilityZone"],
        tags=tags,
    )
