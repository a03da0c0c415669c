"""Put one member of an Auto Scaling group into standby: it serves nothing, and is looked into.

The desired capacity is lowered by one, so that nothing is launched in its place, and must not fall
below the group's minimum.

```yaml
- action: enter_standby
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_member
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Progress,
    TargetKind,
    Undo,
)

_THERE = frozenset({"EnteringStandby", "Standby"})


class EnterStandby(Action):
    name: ClassVar[str] = "enter_standby"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:EnterStandby",
        "ec2:DescribeInstances",
    )
    undone_by: ClassVar[str | None] = "exit_standby"

    def observe(self, call: Call) -> Observation:
        group, seen = read_member(call.aws, call.target)
        before = {"group": group.name, "desired": group.desired}
        if seen.lifecycle in _THERE:
            return Observation(already=True, before=before)
        if seen.lifecycle != "InService":
            raise NotActionableError(f"{call.target} is {seen.lifecycle}")
        if group.desired - 1 < group.minimum:
            raise NotActionableError(f"{group.name} is at its minimum of {group.minimum}")
        return Observation(already=False, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.enter_standby(
            InstanceIds=[call.target],
            AutoScalingGroupName=call.before["group"],
            ShouldDecrementDesiredCapacity=True,
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        _, seen = read_member(call.aws, call.target)
        return Progress.DONE if seen.lifecycle == "Standby" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("exit_standby", {})

    def unchanged_since(self, call: Call) -> bool:
        _, seen = read_member(call.aws, call.target)
        return seen.lifecycle in _THERE
