"""Start one stopped EC2 instance.

```yaml
- action: start_instance
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_instance
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

_RUNNING = frozenset({"pending", "running"})


class StartInstance(Action):
    name: ClassVar[str] = "start_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = ("ec2:DescribeInstances", "ec2:StartInstances")
    undone_by: ClassVar[str | None] = "stop_instance"

    def observe(self, call: Call) -> Observation:
        state = read_instance(call.aws, call.target).state
        if state not in _RUNNING | {"stopped"}:
            raise NotActionableError(f"{call.target} is {state}, only a stopped one is started")
        return Observation(already=state in _RUNNING, before={"state": state})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2.start_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        state = read_instance(call.aws, call.target).state
        return Progress.DONE if state == "running" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("stop_instance", {})

    def unchanged_since(self, call: Call) -> bool:
        return read_instance(call.aws, call.target).state in _RUNNING
