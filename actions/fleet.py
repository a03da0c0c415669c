"""What AWS says of an instance or a group, read by id and checked before it is believed."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions.aws import Aws

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import InstanceTypeDef

INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,254}")
GROUP_TAG = "aws:autoscaling:groupName"


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
class Group:
    """`in_service` are the ids of the members that AWS counts as in service and healthy."""

    name: str
    minimum: int
    maximum: int
    desired: int
    members: frozenset[str]
    in_service: frozenset[str]


def instance(aws: Aws, instance_id: str) -> Instance:
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


def by_private_address(aws: Aws, address: str) -> Instance | None:
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


def group(aws: Aws, name: str) -> Group:
    """The Auto Scaling group of just this name.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is no name of an Auto Scaling group")
    answer = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    if len(answer["AutoScalingGroups"]) != 1:
        raise NotActionableError(f"Auto Scaling group {name} does not exist")
    found = answer["AutoScalingGroups"][0]
    members = found.get("Instances", [])
    return Group(
        name=name,
        minimum=found["MinSize"],
        maximum=found["MaxSize"],
        desired=found["DesiredCapacity"],
        members=frozenset(m["InstanceId"] for m in members),
        in_service=frozenset(
            m["InstanceId"]
            for m in members
            if m["LifecycleState"] == "InService" and m["HealthStatus"] == "Healthy"
        ),
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
