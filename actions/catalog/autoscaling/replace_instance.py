"""Terminate one member of an Auto Scaling group, which launches another.

The desired capacity stays. The instance, its memory and its disks are lost. A member that is
protected from scale-in is refused, and so is a group that could not launch another: one that has
suspended what a replacement needs, is short of members already, or whose last launch failed for
want of capacity or quota, or by its launch template.

The group drains the member, runs its lifecycle hooks (each has its own time) and launches another.
A member that a hook retains in Terminating:Retained has been replaced; somebody has to end it.

By default (`mode: terminate_first`) the member is terminated at once. With `mode: launch_first` the
desired capacity is raised by it; once as much serves without it as served before, by the group and
by every target group, it is terminated and the capacity lowered again, in one call. If AWS cannot
launch, or takes longer than its lifecycle hooks and half an hour, the member stays, and the
capacity is given back, as often as AWS needs, unless a new member serves after all. A capacity that
somebody else sets meanwhile stays. A group at its maximum is refused, and one with a classic load
balancer or a lattice, whose health is not read, or with a warm pool that takes back what the group
scales in: the ill member would serve again.

```yaml
- action: replace_instance
  params: {mode: launch_first}
  when: verdict.answer == "confirmed" and group.desired < group.max
  verify:
    expr: count(up{$members} == 1) >= bool 6
```

After the replacement, metrics of the old instance prove nothing: verify the group, as above.
"""

from collections.abc import Mapping
from typing import Any, Literal

from actions.aws.group_behaviour import require_launches, require_processes, require_whole
from actions.aws.groups import read_group, read_member
from actions.aws.target_errors import NotActionableError
from actions.aws.waits import launch_hooks_s, leaving_s
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    TargetKind,
)
from actions.catalog.autoscaling import _launch_first

# A forced shutdown, a launch, and the health checks of what was launched.
_REPLACES_WITHIN_S = 1_800.0


class ReplaceInstanceParams(Params):
    mode: Literal["launch_first", "terminate_first"] = "terminate_first"


class ReplaceInstance(Action):
    name = "replace_instance"
    target = TargetKind.INSTANCE
    impact = Impact.DESTRUCTIVE
    removes_capacity = True
    # The first call sets an absolute capacity, or has the member's id and no decrement: a second
    # one changes nothing more. The termination with a decrement is never repeated.
    idempotent = True
    # AWS terminates, launches, and runs the group's lifecycle hooks, which wait up to an hour.
    takes_up_to_s = 3_600.0
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:SetDesiredCapacity",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    params = ReplaceInstanceParams
    cancelled_with = "autoscaling:SetDesiredCapacity"
    cancelled_at_end = True

    def observe(self, call: Call) -> Observation:
        group, member = read_member(call.aws, call.target)
        if member.lifecycle != "InService":
            raise NotActionableError(
                f"{call.target} is {member.lifecycle}: only a member in service can be replaced"
            )
        if member.protected:
            raise NotActionableError(f"{call.target} is protected from scale-in")
        traffic = ("AddToLoadBalancer",) if group.is_balanced else ()
        require_processes(group, "Launch", "Terminate", *traffic)
        require_launches(call.aws, group)
        require_whole(group)
        before: dict[str, Any] = {"group": group.name, "desired": group.desired}
        if call.params.get("mode") == "launch_first":
            before |= _launch_first.observe(call, group, member)
        return Observation(already=False, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        if _launches_first(call):
            return _launch_first.act(call)
        answer = call.aws.autoscaling_once.terminate_instance_in_auto_scaling_group(
            InstanceId=call.target, ShouldDecrementDesiredCapacity=False
        )
        return {"activity_id": answer.get("Activity", {}).get("ActivityId", "")}

    def read_back(self, call: Call) -> CallResult:
        if _launches_first(call):
            return _launch_first.read_back(call)
        member = read_group(call.aws, call.before["group"]).members.get(call.target)
        going = member is None or member.lifecycle.startswith("Terminat")
        return CallResult(Outcome.CHANGED if going else Outcome.FAILED)

    def lasts_up_to_s(self, call: Call) -> float:
        aws, group = call.aws, call.before["group"]
        return leaving_s(aws, group) + launch_hooks_s(aws, group) + _REPLACES_WITHIN_S

    def next_call(self, call: Call) -> Mapping[str, Any] | None:
        return _launch_first.next_call(call) if _launches_first(call) else None

    def must_cancel(self, call: Call) -> bool:
        return _launches_first(call) and _launch_first.must_cancel(call)

    def can_cancel(self, call: Call) -> bool:
        return _launches_first(call) and _launch_first.TERMINATES not in call.made

    def cancel(self, call: Call) -> None:
        _launch_first.cancel(call)

    def progress(self, call: Call) -> Progress:
        if _launches_first(call):
            return _launch_first.progress(call)
        group = read_group(call.aws, call.before["group"])
        whole = group.units_in_service >= min(group.desired, call.before["desired"])
        member = group.members.get(call.target)
        gone = member is None or member.lifecycle == "Terminating:Retained"
        return Progress.DONE if gone and whole else Progress.UNDERWAY


def _launches_first(call: Call) -> bool:
    return "sets" in call.before
