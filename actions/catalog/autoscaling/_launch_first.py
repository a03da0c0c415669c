"""A replacement without a dip: one more is launched, and the old one terminated when it serves.

The first call raises the desired capacity by the member's units; the second terminates the member
and lowers it again, once as much serves without the member as served before with it. What others do
to the desired capacity meanwhile is never undone.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from actions.aws.group_activities import read_last_launch
from actions.aws.groups import Group, Member, read_group
from actions.aws.target_errors import NotActionableError
from actions.aws.target_health import read_target_health
from actions.base import Call, CallResult, Outcome, Progress
from actions.catalog.autoscaling._capacity import check_room

# In `made`: the member whose termination was sent.
TERMINATES = "terminates"


def observe(call: Call, group: Group, member: Member) -> Mapping[str, Any]:
    """What was before.

    Raises NotActionableError where the maximum has no room for one more, where the group is about
    to replace the member by itself, where that would come back from a warm pool, or where nobody
    could tell when the new one serves: the group takes it for healthy for a while, whatever a
    classic load balancer or a lattice says.
    """
    check_room(group, member.units)
    if not member.healthy and "ReplaceUnhealthy" not in group.suspended:
        raise NotActionableError(
            f"{group.name} has marked {member.id} Unhealthy, and replaces it by itself"
        )
    if group.reuses:
        raise NotActionableError(
            f"{group.name} may return {member.id} to its warm pool: use terminate_first"
        )
    if group.other_balancers:
        raise NotActionableError(
            f"{group.name} gets traffic also from {', '.join(group.other_balancers)}, whose health "
            "is not read: use terminate_first"
        )
    return {
        "sets": group.desired + member.units,
        "members": sorted(group.members),
        "serving": sum(group.members[name].units for name in _serving(call, group)),
    }


def act(call: Call) -> Mapping[str, Any]:
    if TERMINATES in call.made:
        call.aws.autoscaling_once.terminate_instance_in_auto_scaling_group(
            InstanceId=call.target, ShouldDecrementDesiredCapacity=True
        )
        return {TERMINATES: call.target}
    if _group(call).desired not in {call.before["desired"], call.before["sets"]}:
        raise NotActionableError(f"somebody changed the capacity of {call.before['group']}")
    _set_desired(call, call.before["sets"])
    return {}


def read_back(call: Call) -> CallResult:
    group = _group(call)
    if TERMINATES in call.made:
        gone = not _stays(call, group)
        return CallResult(Outcome.CHANGED, {TERMINATES: call.target}) if gone else _failed()
    if group.desired == call.before["sets"]:
        return CallResult(Outcome.CHANGED)
    return _failed() if group.desired == call.before["desired"] else CallResult(Outcome.UNKNOWN)


def next_call(call: Call) -> Mapping[str, Any] | None:
    """The termination, once another one serves and nobody would miss the member."""
    if TERMINATES in call.made:
        return None
    group = _group(call)
    if not _stays(call, group) or group.desired < call.before["sets"]:
        return None
    if group.members[call.target].protected:
        # Somebody has protected it from scale-in meanwhile, which AWS does not mind here.
        return None
    serving = _serving(call, group) - {call.target}
    units = sum(group.members[name].units for name in serving)
    ready = serving - set(call.before["members"]) and units >= call.before["serving"]
    return {TERMINATES: call.target} if ready else None


def must_cancel(call: Call) -> bool:
    """Whether AWS could not launch, or has not given back: before the first call it could."""
    if TERMINATES in call.made:
        return False
    if "cancelled_at" in call.made:
        return _is_owed(call, _group(call))
    last = read_last_launch(call.aws, call.before["group"])
    return last is not None and last.failure is not None


def cancel(call: Call) -> None:
    """Give back what was added, unless it serves, or somebody set another capacity since.

    Of the new members one that does not serve is terminated, lest the group choose one that does.
    """
    group = _group(call)
    if not _is_owed(call, group):
        return
    idle = sorted(name for name in _added(call, group) if group.members[name].counts)
    if idle:
        call.aws.autoscaling_once.terminate_instance_in_auto_scaling_group(
            InstanceId=idle[0], ShouldDecrementDesiredCapacity=True
        )
    else:
        _set_desired(call, call.before["desired"])


def progress(call: Call) -> Progress:
    group = _group(call)
    if TERMINATES in call.made:
        member = group.members.get(call.target)
        gone = member is None or member.lifecycle == "Terminating:Retained"
        return Progress.DONE if gone else Progress.UNDERWAY
    if not _stays(call, group):
        # Its group has replaced it, or somebody has terminated it.
        return Progress.FAILED
    added = group.desired - call.before["sets"]
    given_up = added < 0 or (added > 0 and "cancelled_at" in call.made)
    return Progress.NEVER_RAN if given_up else Progress.UNDERWAY


def _group(call: Call) -> Group:
    return read_group(call.aws, call.before["group"])


def _stays(call: Call, group: Group) -> bool:
    member = group.members.get(call.target)
    return member is not None and member.lifecycle == "InService"


def _added(call: Call, group: Group) -> AbstractSet[str]:
    return group.members.keys() - set(call.before["members"])


def _is_owed(call: Call, group: Group) -> bool:
    """Whether what was added stands, and no new member serves."""
    stands = group.desired == call.before["sets"]
    return stands and _added(call, group).isdisjoint(_serving(call, group))


def _set_desired(call: Call, desired: int) -> None:
    call.aws.autoscaling.set_desired_capacity(
        AutoScalingGroupName=call.before["group"], DesiredCapacity=desired, HonorCooldown=False
    )


def _serving(call: Call, group: Group) -> frozenset[str]:
    """The members that serve by their group, and by each of its target groups in use."""
    serving = group.in_service
    for arn in group.target_groups:
        registered, healthy = read_target_health(call.aws, arn)
        if registered:
            serving &= healthy
    return serving


def _failed() -> CallResult:
    return CallResult(Outcome.FAILED)
