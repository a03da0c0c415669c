"""Start one stopped EC2 instance.

```yaml
- action: start_instance
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, instance
from actions.base import (
    Action,
    Call,
    Impact,
    Observation,
    Outcome,
    Progress,
    Settled,
    TargetKind,
    Undo,
)

_RUNNING = frozenset({"pending", "running"})


class StartInstance(Action):
    name: ClassVar[str] = "start_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    converges: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = ("ec2:DescribeInstances", "ec2:StartInstances")
    undone_by: ClassVar[str | None] = "stop_instance"

    def observe(self, call: Call) -> Observation:
        state = instance(call.aws, call.target).state
        if state not in _RUNNING | {"stopped"}:
            raise NotActionableError(f"{call.target} is {state}, only a stopped one is started")
        return Observation(already=state in _RUNNING, before={"state": state})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2.start_instances(InstanceIds=[call.target])
        return {}

    def reconcile(self, call: Call) -> Settled:
        return Settled(Outcome.CHANGED if self.left(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        state = instance(call.aws, call.target).state
        return Progress.DONE if state == "running" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("stop_instance", {})

    def left(self, call: Call) -> bool:
        return instance(call.aws, call.target).state in _RUNNING
