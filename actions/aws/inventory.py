"""Instances and Auto Scaling groups, read by id; an answer about another resource is refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actions.aws.client_set import Aws

if TYPE_CHECKING:
    from types_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef as GroupTypeDef
    from types_boto3_autoscaling.type_defs import InstanceTypeDef as MemberTypeDef
    from types_boto3_ec2.type_defs import (
        DescribeInstancesRequestTypeDef,
        FilterTypeDef,
        InstanceTypeDef,
    )

INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,254}")
# The region at the start of the name of a zone or a Local Zone ("us-west-2-lax-1a").
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")
# States of an instance that was not terminated.
_LIVE = ["pending", "running", "stopping", "stopped"]
# Actions change only instances and groups whose tag has the value "true".
OPT_IN_TAG = "smartcloudops:remediate"
# Marks an instance in quarantine, and the snapshots of its disks.
QUARANTINE_TAG = "smartcloudops:quarantined"
GROUP_TAG = "aws:autoscaling:groupName"
# The value "true" marks a group as a critical service.
CRITICAL_TAG = "smartcloudops:critical"


class NotActionableError(Exception):
    """The target does not exist, or its state does not allow the action; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    id: str
    state: str
    launched_at: float
    group: str | None
    az: str
    tags: dict[str, str]
    account: str = ""

    @property
    def labels(self) -> Mapping[str, str]:
        """The instance's labels, as its metrics have them, without empty ones."""
        region = _REGION.match(self.az)
        return _labels(
            self.tags,
            instance_id=self.id,
            asg=self.group or "",
            az=self.az,
            region=region[0] if region else "",
            account=self.account,
        )


@dataclass(frozen=True, kw_only=True)
class Member:
    """An instance as its group sees it; `version` is the version of its launch template.

    `protected`: the group may not terminate it in a scale-in.
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
    """A group; `target_groups` are ARNs, `suspended` the names of suspended processes."""

    name: str
    minimum: int
    maximum: int
    desired: int
    members: Mapping[str, Member]
    target_groups: tuple[str, ...] = ()
    suspended: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    account: str = ""

    @property
    def labels(self) -> Mapping[str, str]:
        """The group's labels, as its metrics have them, without empty ones."""
        return _labels(self.tags, asg=self.name, region=self.region, account=self.account)

    @property
    def in_service(self) -> frozenset[str]:
        """Ids of the members that AWS counts as in service and healthy."""
        return frozenset(member.id for member in self.members.values() if member.serves)


def _labels(tags: Mapping[str, str], **known: str) -> Mapping[str, str]:
    """The tags as labels, named as Prometheus' EC2 service discovery names them.

    `tag_` is put before a tag's key, and characters that a label cannot have become underscores.
    """
    by_tag = {f"tag_{re.sub(r'[^A-Za-z0-9_]', '_', key)}": value for key, value in tags.items()}
    return {name: value for name, value in (by_tag | known).items() if value}


def read_instance(aws: Aws, instance_id: str) -> Instance:
    """The instance with this id.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    # Only a valid id is sent: an empty filter would match all instances.
    if not INSTANCE_ID.fullmatch(instance_id):
        raise NotActionableError(
            f"{instance_id!r} is not an instance id: expected i- and hex digits"
        )
    instances = _described(aws, "instance-id", instance_id)
    if len(instances) != 1:
        raise NotActionableError(f"instance {instance_id} does not exist")
    return instances[0]


def find_by_private_address(aws: Aws, address: str) -> Instance | None:
    """The one live instance with this private IPv4 address; None where none or several have it."""
    instances = _described(aws, "private-ip-address", address, _LIVE)
    return instances[0] if len(instances) == 1 else None


def read_group(aws: Aws, name: str) -> Group:
    """The Auto Scaling group with this name.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is not a name of an Auto Scaling group")
    answer = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    if len(answer["AutoScalingGroups"]) != 1:
        raise NotActionableError(f"Auto Scaling group {name} does not exist")
    return _group(answer["AutoScalingGroups"][0])


def read_groups(aws: Aws) -> Sequence[Group]:
    """Every Auto Scaling group of the region, by name. botocore's errors pass through."""
    pages = aws.autoscaling.get_paginator("describe_auto_scaling_groups").paginate()
    groups = [_group(group) for page in pages for group in page["AutoScalingGroups"]]
    return sorted(groups, key=lambda group: group.name)


def read_group_instances(aws: Aws, name: str) -> Sequence[Instance]:
    """The live instances of a group, with their tags. botocore's errors pass through."""
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is not a name of an Auto Scaling group")
    return _described(aws, f"tag:{GROUP_TAG}", name, _LIVE)


def read_standalone(aws: Aws) -> Sequence[Instance]:
    """The opted-in live instances outside Auto Scaling groups. botocore's errors pass through."""
    instances = _described(aws, f"tag:{OPT_IN_TAG}", "true", _LIVE)
    return [instance for instance in instances if instance.group is None]


def read_member(aws: Aws, instance_id: str) -> tuple[Group, Member]:
    """The instance's group, and how the group sees it.

    Raises NotActionableError where it is in no group; botocore's errors pass through.
    """
    name = read_instance(aws, instance_id).group
    if name is None:
        raise NotActionableError(f"instance {instance_id} belongs to no Auto Scaling group")
    group = read_group(aws, name)
    if instance_id not in group.members:
        raise NotActionableError(f"instance {instance_id} has left Auto Scaling group {name}")
    return group, group.members[instance_id]


@contextmanager
def _complete(what: str) -> Iterator[None]:
    """Raises NotActionableError if AWS's answer lacks an attribute: none has a default."""
    try:
        yield
    except KeyError as missing:
        raise NotActionableError(f"AWS's answer about {what} lacks {missing}") from None


def _group(answer: "GroupTypeDef") -> Group:
    """Parse a group; AWS sends each of its lists, even an empty one."""
    name = answer["AutoScalingGroupName"]
    # arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:…
    _, _, _, region, account, *_ = [*answer.get("AutoScalingGroupARN", "").split(":"), *[""] * 5]
    with _complete(name):
        members = [_member(member) for member in answer["Instances"]]
        return Group(
            name=name,
            minimum=answer["MinSize"],
            maximum=answer["MaxSize"],
            desired=answer["DesiredCapacity"],
            members={member.id: member for member in members},
            target_groups=tuple(answer["TargetGroupARNs"]),
            suspended=frozenset(process["ProcessName"] for process in answer["SuspendedProcesses"]),
            tags={tag["Key"]: tag["Value"] for tag in answer["Tags"]},
            region=region,
            account=account,
        )


def _member(answer: "MemberTypeDef") -> Member:
    template = answer.get("LaunchTemplate") or {}
    return Member(
        id=answer["InstanceId"],
        az=answer["AvailabilityZone"],
        lifecycle=answer["LifecycleState"],
        healthy=answer["HealthStatus"].lower() == "healthy",
        version=template.get("Version"),
        protected=answer["ProtectedFromScaleIn"],
    )


def _described(aws: Aws, name: str, value: str, states: Sequence[str] = ()) -> list[Instance]:
    instances: list[Instance] = []
    query: DescribeInstancesRequestTypeDef = {"Filters": [{"Name": name, "Values": [value]}]}
    if states:
        in_state: FilterTypeDef = {"Name": "instance-state-name", "Values": states}
        query["Filters"] = [*query["Filters"], in_state]
    while True:
        answer = aws.ec2.describe_instances(**query)
        instances += [
            _instance(instance, reservation.get("OwnerId", ""))
            for reservation in answer["Reservations"]
            for instance in reservation.get("Instances", [])
        ]
        if not answer.get("NextToken"):
            return instances
        query["NextToken"] = answer["NextToken"]


def _instance(answer: "InstanceTypeDef", account: str) -> Instance:
    # AWS leaves them out where the instance has none.
    tags = {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
    with _complete(answer["InstanceId"]):
        return Instance(
            id=answer["InstanceId"],
            state=answer["State"]["Name"],
            launched_at=answer["LaunchTime"].timestamp(),
            group=tags.get(GROUP_TAG),
            az=answer["Placement"]["AvailabilityZone"],
            tags=tags,
            account=account,
        )
