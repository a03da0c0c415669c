"""Suspend processes of an Auto Scaling group while a run works on it.

They are resumed when the run ends, however it ends; those that somebody had suspended before stay
as they were.

```yaml
- action: stop_instance
  before:
    - action: suspend_processes
      params: {processes: [ReplaceUnhealthy, AZRebalance]}
```
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from actions.base import Call
from actions.catalog.autoscaling.processes import ChangesProcesses


class SuspendProcesses(ChangesProcesses):
    name: ClassVar[str] = "suspend_processes"
    released_at_end: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SuspendProcesses",
    )
    undone_by: ClassVar[str | None] = "resume_processes"

    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        return wanted - suspended

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.suspend_processes(**self.asked(call))
        return {}
