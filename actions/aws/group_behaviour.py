"""What a group will do about an act on it or its member, and whether the act can come about.

With Launch suspended nothing is added, attached or brought back from standby; with Terminate
nothing goes; with InstanceRefresh no refresh starts; with AddToLoadBalancer a new instance gets no
traffic.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html
"""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from actions.aws.client_set import Aws
from actions.aws.group_activities import read_last_launch
from actions.aws.groups import Group, Member, read_group_instances
from actions.aws.host_status import IMPAIRED, read_host_status
from actions.aws.instances import read_instance
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError
from actions.aws.target_health import read_target_health

# The sources of health checks that a member fails while its load balancer does not reach it.
BALANCER_CHECKS = frozenset({"ELB", "VPC_LATTICE"})
# The one that it fails while it does not run.
EC2_CHECK = frozenset({"EC2"})
# Zones whose members differ by so many are out of balance.
_UNBALANCED = 2
# The lifecycle states of a member that is away, or on its way, and may come back.
_AWAY = frozenset({"EnteringStandby", "Standby", "Detaching", "Detached"})


def require_processes(group: Group, *needed: str) -> None:
    """Raises NotActionableError where the group is being deleted, or has suspended one of these."""
    if group.status:
        raise NotActionableError(f"{group.name} is being deleted: {group.status}")
    suspended = sorted(group.suspended.intersection(needed))
    if suspended:
        raise NotActionableError(
            f"{group.name} has suspended {', '.join(suspended)}: resume it first"
        )


def require_launches(aws: Aws, group: Group) -> None:
    """Raises NotActionableError where the group could not launch a member, botocore's errors.

    AWS tries again by itself, and after a day of failures suspends Launch.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
    """
    require_processes(group, "Launch")
    launch = read_last_launch(aws, group.name)
    if launch is not None and launch.failure is not None:
        raise NotActionableError(f"{group.name} cannot launch ({launch.failure}): {launch.message}")


def require_whole(group: Group) -> None:
    """Raises NotActionableError where the group is short of members and launches none."""
    if group.units_short:
        raise NotActionableError(
            f"{group.name} is {group.units_short} of {group.desired} {group.unit} short and "
            "launches none"
        )


def to_suspend(group: Group, member: Member, checks: AbstractSet[str]) -> Sequence[str]:
    """The processes by which the group would replace the member if it fails a check.

    HealthCheck and ReplaceUnhealthy: whom it marks Unhealthy while only ReplaceUnhealthy is
    suspended, it replaces on the resumption. A member in standby is not checked.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/suspend-resume-considerations.html
    """
    checked = member.lifecycle != "Standby" and _failed(group, checks)
    return sorted({"HealthCheck", "ReplaceUnhealthy"} - group.suspended) if checked else []


def require_kept(group: Group, member: Member, checks: AbstractSet[str]) -> None:
    """Raises NotActionableError where the group would replace the member if it fails a check.

    Also where nobody could tell when it passes again, so that the checks would stay suspended.
    """
    if member.lifecycle != "Standby" and (unread := _unread_balancers(group)):
        raise NotActionableError(
            f"{group.name} asks {', '.join(unread)} about the health of {member.id}, which is not "
            "read: put it into standby first"
        )
    if missing := to_suspend(group, member, checks):
        failed = ", ".join(sorted(_failed(group, checks)))
        raise NotActionableError(
            f"{group.name} would replace {member.id}, which fails its {failed} "
            f"health check: suspend {' and '.join(missing)} first"
        )


def _failed(group: Group, checks: AbstractSet[str]) -> AbstractSet[str]:
    """Those of the checks that the group makes."""
    failed = checks & group.health_checks
    return failed if group.is_balanced else failed - BALANCER_CHECKS


def _unread_balancers(group: Group) -> Sequence[str]:
    """Those whose health checks the group follows, and which are no target groups."""
    return group.other_balancers if BALANCER_CHECKS & group.health_checks else ()


def unbalances(group: Group, member: Member) -> bool:
    """Whether AZRebalance would launch a member and terminate another, once this one is away.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html
    """
    if {"AZRebalance", "Launch"} & group.suspended:
        return False
    zones = _zones(group)
    present = max(zones.values()) - min(zones.values())
    zones[member.az] -= 1
    return max(zones.values()) - min(zones.values()) >= max(_UNBALANCED, present + 1)


def _zones(group: Group) -> Counter[str]:
    """The number of members that count, by zone."""
    zones = Counter(member.az for member in group.members.values() if member.counts)
    zones.update(dict.fromkeys(group.zones, 0))
    return zones


def missed_after(
    aws: Aws, group: Group, *, resumed: AbstractSet[str], acted_on: AbstractSet[str]
) -> Sequence[str]:
    """Which of those `acted_on` are away, so that their group terminates another one.

    That is once these processes are resumed, to balance the zones. Raises botocore's errors.
    """
    balancing = {"AZRebalance", "Launch"}
    if balancing & (group.suspended - resumed) or not balancing & resumed:
        return []
    zones = _zones(group)
    short = {zone for zone, count in zones.items() if max(zones.values()) - count >= _UNBALANCED}
    return sorted(name for name in acted_on if short and _zone_away(aws, group, name) in short)


def _zone_away(aws: Aws, group: Group, instance_id: str) -> str | None:
    """The zone of a member in standby, or of one that was detached and runs; else None."""
    member = group.members.get(instance_id)
    if member is not None:
        return member.az if member.lifecycle in _AWAY else None
    with suppress(NotActionableError):
        instance = read_instance(aws, instance_id)
        return instance.az if instance.state == "running" and instance.group is None else None
    return None


def replaced_after(
    aws: Aws, group: Group, *, resumed: AbstractSet[str], acted_on: AbstractSet[str] = frozenset()
) -> frozenset[str]:
    """The members that the group terminates once these processes are resumed.

    They are marked Unhealthy, or its health check will find that they do not run. Those that were
    `acted_on`, or are in quarantine, must pass each of its checks. Raises botocore's errors.
    """
    suspended = group.suspended - resumed
    replaces = {"ReplaceUnhealthy", "Terminate"}
    if replaces & suspended or not {*replaces, "HealthCheck"} & resumed:
        return frozenset()
    serving = {name for name, one in group.members.items() if one.lifecycle == "InService"}
    lost = frozenset(name for name in serving if not group.members[name].healthy)
    if "HealthCheck" in resumed:
        live = {instance.id: instance for instance in read_group_instances(aws, group.name)}
        running = {name for name, one in live.items() if one.state in {"pending", "running"}}
        suspects = {name for name in running if QUARANTINE_TAG in live[name].tags} | acted_on
        lost |= serving - running
        lost |= {name for name in serving & suspects if not is_well(aws, group, name)}
    return lost


def is_starting(aws: Aws, instance_id: str) -> bool:
    """Whether the instance is on its way to run, or its status checks have not ended yet.

    Raises NotActionableError where it does not exist, and botocore's errors.
    """
    status = read_host_status(aws, instance_id)
    state = read_instance(aws, instance_id).state
    checking = "initializing" in {status.system, status.instance}
    return state == "pending" or (state == "running" and checking)


def is_well(aws: Aws, group: Group, instance_id: str) -> bool:
    """Whether a member would pass the group's health checks now; not where one is not read.

    Raises NotActionableError where it does not exist, and botocore's errors.
    """
    status = read_host_status(aws, instance_id)
    running = instance_id in {
        instance.id
        for instance in read_group_instances(aws, group.name)
        if instance.state == "running"
    }
    serves = "ELB" not in group.health_checks or all(
        instance_id in read_target_health(aws, arn)[1] for arn in group.target_groups
    )
    known = not _unread_balancers(group)
    sound = IMPAIRED not in {status.system, status.instance, status.ebs}
    return running and known and serves and sound
