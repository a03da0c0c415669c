"""Suspend processes of an Auto Scaling group while a run works on it.

They are resumed when the run ends, whatever its result. Processes that were suspended before stay
suspended.

```yaml
- action: stop_instance
  before:
    - action: suspend_processes
      params: {processes: [ReplaceUnhealthy, AZRebalance]}
```
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from actions.base import Call
from actions.catalog.autoscaling._processes import ChangesProcesses


class SuspendProcesses(ChangesProcesses):
    name = "suspend_processes"
    released_at_end = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SuspendProcesses",
    )
    undone_by = "resume_processes"

    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        return wanted - suspended

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.suspend_processes(**self.arguments(call))
        return {}
