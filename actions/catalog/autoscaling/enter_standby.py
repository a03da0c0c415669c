"""Put one member of an Auto Scaling group into standby, without traffic, for examination.

The desired capacity is lowered by one, so that the group launches no replacement. The result must
not be below the group's minimum. The group checks no member in standby, and keeps it.

Where the zones would be out of balance, the group would launch a member in the zone of this one and
terminate a healthy one elsewhere: AZRebalance is then suspended first. The rollback by
`exit_standby` resumes it; otherwise it stays suspended until somebody brings the member back and
resumes it.

```yaml
- action: enter_standby
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.group_behaviour import unbalances
from actions.aws.groups import Group, Member, read_group, read_member
from actions.aws.waits import draining_s
from actions.base import Call, CallResult, Outcome, Progress, Undo
from actions.catalog.autoscaling._standby import CHANGES_WITHIN_S, ChangesStandby


class EnterStandby(ChangesStandby):
    name = "enter_standby"
    removes_capacity = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:EnterStandby",
        "autoscaling:ResumeProcesses",
        "autoscaling:SuspendProcesses",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
    )
    undone_by = "exit_standby"
    start = "InService"
    moves_to = frozenset({"EnteringStandby", "Standby"})
    difference = -1
    # A target is drained first: up to the longest delay that a target group may have.
    takes_up_to_s = 3_600.0

    def also(self, call: Call, group: Group, member: Member) -> Mapping[str, Any]:
        del call
        return {"rebalance": "suspended"} if unbalances(group, member) else {}

    def act(self, call: Call) -> Mapping[str, Any]:
        rebalance = _rebalance(call)
        if rebalance:
            call.aws.autoscaling.suspend_processes(**rebalance)
        try:
            call.aws.autoscaling_once.enter_standby(
                InstanceIds=[call.target],
                AutoScalingGroupName=call.before["group"],
                ShouldDecrementDesiredCapacity=True,
            )
        except Exception as error:
            # AWS answered. What became of a call without an answer is read back later.
            if rebalance and hasattr(error, "response") and not super().unchanged_since(call):
                call.aws.autoscaling.resume_processes(**rebalance)
            raise
        return {}

    def read_back(self, call: Call) -> CallResult:
        """A suspension that is left over is rolled back, even if the member never moved."""
        if super().unchanged_since(call):
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.UNKNOWN if _is_suspended(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        return Undo("exit_standby", {"resume_rebalance": True} if _rebalance(call) else {})

    def unchanged_since(self, call: Call) -> bool:
        return super().unchanged_since(call) or _is_suspended(call)

    def lasts_up_to_s(self, call: Call) -> float:
        group = read_group(call.aws, call.before["group"])
        return draining_s(call.aws, group.target_groups) + CHANGES_WITHIN_S

    def progress(self, call: Call) -> Progress:
        _, member = read_member(call.aws, call.target)
        return Progress.DONE if member.lifecycle == "Standby" else Progress.UNDERWAY


def _rebalance(call: Call) -> dict[str, Any]:
    """The arguments to suspend AZRebalance, or to resume it; empty where the step does neither."""
    if not call.before.get("rebalance"):
        return {}
    return {"AutoScalingGroupName": call.before["group"], "ScalingProcesses": ["AZRebalance"]}


def _is_suspended(call: Call) -> bool:
    group = call.before["group"]
    return bool(_rebalance(call)) and "AZRebalance" in read_group(call.aws, group).suspended
