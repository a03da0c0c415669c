"""Auto Scaling groups and their members, read by name; an answer about another one is refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actions.aws.client_set import Aws
from actions.aws.instances import Instance, find_live, read_instance
from actions.aws.tags import GROUP_TAG, labels_of, read_tags
from actions.aws.target_errors import NotActionableError, TargetGoneError, require_complete

if TYPE_CHECKING:
    from types_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef as GroupTypeDef
    from types_boto3_autoscaling.type_defs import InstanceTypeDef as MemberTypeDef
    from types_boto3_autoscaling.type_defs import (
        LaunchTemplateSpecificationTypeDef as TemplateTypeDef,
    )

# AWS takes any character but the colon. Those that mean something in a query, a filter, a policy or
# at the start of a path are refused: quotes, backslash, braces, brackets, and `$*?|^<>;`.
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html
_CHARACTERS = r"A-Za-z0-9_@+=,()~#!%&-"
GROUP_NAME = re.compile(rf"[{_CHARACTERS}][ ./{_CHARACTERS}]{{0,254}}")


@dataclass(frozen=True, kw_only=True)
class Member:
    """An instance as its group sees it, launched from a `version` of the launch `template`.

    A group may not scale in one that is `protected`. `units` is its share of the group's capacity,
    1 without instance weights.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-mixed-instances-groups-instance-weighting.html
    """

    id: str
    az: str
    lifecycle: str
    healthy: bool
    template: str = ""
    version: str | None = None
    protected: bool = False
    units: int = 1

    @property
    def serves(self) -> bool:
        return self.lifecycle == "InService" and self.healthy

    @property
    def counts(self) -> bool:
        """Whether it is part of the desired capacity: it serves, or is on its way to serve.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html
        """
        return self.lifecycle.startswith(("InService", "Pending", "ReplacingRoot", "RootVolume"))


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group. Its capacity is counted in units.

    `target_groups` are ARNs, `suspended` the names of suspended processes, `health_checks` the
    sources of its health checks, for which a new member has `grace_s` seconds. `status` is empty
    unless it is being deleted. `other_balancers` are its classic load balancers and its lattice
    target groups. New members are launched from a `version` of the launch `template`, which may be
    `$Latest` or `$Default`; a group of `mixed` instances may have further templates. Its
    `maintenance` policy is the least and the largest percentage of the desired capacity while
    members are replaced. If it `reuses`, its warm pool gets back what is scaled in.
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_InstanceReusePolicy.html
    """

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
    other_balancers: tuple[str, ...] = ()
    health_checks: frozenset[str] = frozenset({"EC2"})
    grace_s: float = 0.0
    status: str = ""
    zones: tuple[str, ...] = ()
    template: str = ""
    version: str | None = None
    mixed: bool = False
    maintenance: tuple[int, int] | None = None
    has_warm_pool: bool = False
    reuses: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        """The group's labels, as its metrics have them, without empty ones."""
        return labels_of(self.tags, asg=self.name, region=self.region, account=self.account)

    @property
    def in_service(self) -> frozenset[str]:
        """Ids of the members that AWS counts as in service and healthy."""
        return frozenset(member.id for member in self.members.values() if member.serves)

    @property
    def units_in_service(self) -> int:
        """The capacity that AWS counts as in service and healthy."""
        return sum(member.units for member in self.members.values() if member.serves)

    @property
    def units_short(self) -> int:
        """The capacity that it wants and that is not even on its way."""
        counted = sum(member.units for member in self.members.values() if member.counts)
        return max(0, self.desired - counted)

    @property
    def is_balanced(self) -> bool:
        """Whether a load balancer of any kind sends it traffic."""
        return bool(self.target_groups or self.other_balancers)

    @property
    def largest_units(self) -> int:
        return max((member.units for member in self.members.values()), default=1)

    @property
    def unit(self) -> str:
        """What its capacity counts."""
        return "units" if self.largest_units > 1 else "instances"


def read_group(aws: Aws, name: str) -> Group:
    """The Auto Scaling group with this name.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is not a name of an Auto Scaling group")
    pages = aws.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        AutoScalingGroupNames=[name]
    )
    groups = [group for page in pages for group in page["AutoScalingGroups"]]
    if [group["AutoScalingGroupName"] for group in groups] != [name]:
        raise TargetGoneError(f"Auto Scaling group {name} does not exist")
    return _group(groups[0], aws.opt_in_tag)


def read_groups(aws: Aws) -> Sequence[Group]:
    """Every Auto Scaling group of the region, by name. botocore's errors pass through."""
    pages = aws.autoscaling.get_paginator("describe_auto_scaling_groups").paginate()
    tag = aws.opt_in_tag
    groups = [_group(group, tag) for page in pages for group in page["AutoScalingGroups"]]
    return sorted(groups, key=lambda group: group.name)


def read_group_instances(aws: Aws, name: str) -> Sequence[Instance]:
    """The live instances of a group, with their tags. botocore's errors pass through."""
    if not GROUP_NAME.fullmatch(name):
        raise NotActionableError(f"{name!r} is not a name of an Auto Scaling group")
    instances = find_live(aws, f"tag:{GROUP_TAG}", name)
    return [instance for instance in instances if instance.group == name]


def read_member(aws: Aws, instance_id: str) -> tuple[Group, Member]:
    """The instance's group, and how the group sees it.

    Raises NotActionableError where it is in no group; botocore's errors pass through.
    """
    return find_member(aws, read_instance(aws, instance_id))


def recent_or_read(aws: Aws, name: str, recent: Group | None) -> Group:
    """The group `recent` if it has this name, else as `read_group`."""
    return recent if recent and recent.name == name else read_group(aws, name)


def find_member(aws: Aws, instance: Instance, recent: Group | None = None) -> tuple[Group, Member]:
    """As `read_member`, of an instance that was read; `recent` may be its group, just read, too."""
    if instance.group is None:
        raise TargetGoneError(f"instance {instance.id} belongs to no Auto Scaling group")
    group = recent_or_read(aws, instance.group, recent)
    if instance.id not in group.members:
        where = "is in the warm pool of" if group.has_warm_pool else "has left"
        raise TargetGoneError(f"instance {instance.id} {where} Auto Scaling group {group.name}")
    return group, group.members[instance.id]


def _group(answer: "GroupTypeDef", opt_in_tag: str) -> Group:
    """Parse a group; AWS sends each of its lists, even an empty one."""
    name = answer["AutoScalingGroupName"]
    # arn:aws:autoscaling:REGION:ACCOUNT:autoScalingGroup:…
    _, _, _, region, account, *_ = [*answer.get("AutoScalingGroupARN", "").split(":"), *[""] * 5]
    pool = answer.get("WarmPoolConfiguration", {})
    with require_complete(name):
        members = [_member(member) for member in answer["Instances"]]
        return Group(
            name=name,
            minimum=answer["MinSize"],
            maximum=answer["MaxSize"],
            desired=answer["DesiredCapacity"],
            members={member.id: member for member in members},
            target_groups=tuple(answer["TargetGroupARNs"]),
            suspended=frozenset(process["ProcessName"] for process in answer["SuspendedProcesses"]),
            tags=read_tags(answer["Tags"], opt_in_tag),
            region=region,
            account=account,
            health_checks=frozenset(answer["HealthCheckType"].split(",")) | {"EC2"},
            grace_s=float(answer.get("HealthCheckGracePeriod", 0)),
            status=answer.get("Status", ""),
            zones=tuple(answer.get("AvailabilityZones", [])),
            template=_template(answer).get("LaunchTemplateId", ""),
            version=_template(answer).get("Version"),
            mixed="MixedInstancesPolicy" in answer,
            maintenance=_maintenance(answer),
            has_warm_pool=bool(pool),
            reuses=bool(pool.get("InstanceReusePolicy", {}).get("ReuseOnScaleIn")),
            other_balancers=(
                *answer.get("LoadBalancerNames", []),
                *(
                    source["Identifier"]
                    for source in answer.get("TrafficSources", [])
                    if source.get("Type") == "vpc-lattice"
                ),
            ),
        )


def _template(answer: "GroupTypeDef") -> "TemplateTypeDef":
    """The launch template of new members; empty where there is a launch configuration instead."""
    mixed = answer.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    return answer.get("LaunchTemplate", mixed.get("LaunchTemplateSpecification", {}))


def _maintenance(answer: "GroupTypeDef") -> tuple[int, int] | None:
    """A policy that was cleared has -1 in place of each percentage."""
    policy = answer.get("InstanceMaintenancePolicy", {})
    least, most = policy.get("MinHealthyPercentage", -1), policy.get("MaxHealthyPercentage", -1)
    return None if min(least, most) < 0 else (least, most)


def _member(answer: "MemberTypeDef") -> Member:
    template = answer.get("LaunchTemplate") or {}
    return Member(
        id=answer["InstanceId"],
        az=answer["AvailabilityZone"],
        lifecycle=answer["LifecycleState"],
        healthy=answer["HealthStatus"].lower() == "healthy",
        template=template.get("LaunchTemplateId", ""),
        version=template.get("Version"),
        protected=answer["ProtectedFromScaleIn"],
        units=int(answer.get("WeightedCapacity") or 1),
    )
