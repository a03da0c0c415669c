"""Bring one member of a group back from standby; it raises the desired capacity by one.

```yaml
- action: exit_standby
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

_BACK = frozenset({"Pending", "InService"})


class ExitStandby(Action):
    name: ClassVar[str] = "exit_standby"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    allowed_during_changes: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ExitStandby",
        "ec2:DescribeInstances",
    )
    undone_by: ClassVar[str | None] = "enter_standby"

    def observe(self, call: Call) -> Observation:
        group, seen = read_member(call.aws, call.target)
        before = {"group": group.name, "desired": group.desired}
        if seen.lifecycle in _BACK:
            return Observation(already=True, before=before)
        if seen.lifecycle != "Standby":
            raise NotActionableError(f"{call.target} is {seen.lifecycle}")
        if group.desired + 1 > group.maximum:
            raise NotActionableError(f"{group.name} is at its maximum of {group.maximum}")
        return Observation(already=False, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.exit_standby(
            InstanceIds=[call.target], AutoScalingGroupName=call.before["group"]
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        _, seen = read_member(call.aws, call.target)
        return Progress.DONE if seen.serves else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("enter_standby", {})

    def unchanged_since(self, call: Call) -> bool:
        _, seen = read_member(call.aws, call.target)
        return seen.lifecycle in _BACK
