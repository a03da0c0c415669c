"""Suspend processes of an Auto Scaling group while a run works on it.

They are resumed when the run ends, however it ends; those that somebody had suspended before stay
as they were.

```yaml
- action: suspend_processes
  params: {processes: [ReplaceUnhealthy, AZRebalance]}
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.action import (
    Action,
    Call,
    Impact,
    Observation,
    Outcome,
    Params,
    Settled,
    TargetKind,
    Undo,
)
from actions.fleet import group
from actions.processes import Processes


class SuspendProcesses(Action):
    name: ClassVar[str] = "suspend_processes"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    leased: ClassVar[bool] = True
    converges: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SuspendProcesses",
    )
    params: ClassVar[type[Params]] = Processes
    undone_by: ClassVar[str | None] = "resume_processes"

    def observe(self, call: Call) -> Observation:
        suspended = group(call.aws, call.target).suspended
        mine = sorted(set(call.params["processes"]) - suspended)
        return Observation(already=not mine, before={"mine": mine})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.suspend_processes(
            AutoScalingGroupName=call.target, ScalingProcesses=call.before["mine"]
        )
        return {}

    def reconcile(self, call: Call) -> Settled:
        return Settled(Outcome.CHANGED if self.left(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        return Undo("resume_processes", {"processes": call.before["mine"]})

    def left(self, call: Call) -> bool:
        suspended = group(call.aws, call.target).suspended
        return suspended.issuperset(call.before["mine"])
