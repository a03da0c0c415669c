"""Stop one EC2 instance. What is in memory and on instance storage is lost.

A member of an Auto Scaling group that replaces unhealthy instances would be terminated once it is
stopped: such a one is refused, unless it is in standby.

```yaml
- action: stop_instance
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_instance, read_member
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

_STOPPED = frozenset({"stopping", "stopped"})


class StopInstance(Action):
    name: ClassVar[str] = "stop_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "ec2:StopInstances",
    )
    undone_by: ClassVar[str | None] = "start_instance"

    def observe(self, call: Call) -> Observation:
        found = read_instance(call.aws, call.target)
        if found.state not in _STOPPED | {"running"}:
            raise NotActionableError(f"{call.target} is {found.state}")
        if found.group is not None:
            group, seen = read_member(call.aws, call.target)
            if "ReplaceUnhealthy" not in group.suspended and seen.lifecycle != "Standby":
                raise NotActionableError(f"{group.name} would replace a member that is stopped")
        return Observation(already=found.state in _STOPPED, before={"state": found.state})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2.stop_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        state = read_instance(call.aws, call.target).state
        return Progress.DONE if state == "stopped" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("start_instance", {})

    def unchanged_since(self, call: Call) -> bool:
        return read_instance(call.aws, call.target).state in _STOPPED
