"""Resume suspended processes of an Auto Scaling group.

```yaml
- action: resume_processes
  params: {processes: [ReplaceUnhealthy]}
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


class ResumeProcesses(Action):
    name: ClassVar[str] = "resume_processes"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    amid_changes: ClassVar[bool] = True
    converges: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ResumeProcesses",
    )
    params: ClassVar[type[Params]] = Processes
    undone_by: ClassVar[str | None] = "suspend_processes"

    def observe(self, call: Call) -> Observation:
        suspended = group(call.aws, call.target).suspended
        mine = sorted(suspended & set(call.params["processes"]))
        return Observation(already=not mine, before={"mine": mine})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.resume_processes(
            AutoScalingGroupName=call.target, ScalingProcesses=call.before["mine"]
        )
        return {}

    def reconcile(self, call: Call) -> Settled:
        return Settled(Outcome.CHANGED if self.left(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        return Undo("suspend_processes", {"processes": call.before["mine"]})

    def left(self, call: Call) -> bool:
        suspended = group(call.aws, call.target).suspended
        return suspended.isdisjoint(call.before["mine"])
