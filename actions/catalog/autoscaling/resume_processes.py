"""Resume suspended processes of an Auto Scaling group.

```yaml
- action: resume_processes
  params: {processes: [ReplaceUnhealthy]}
```
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from actions.base import Call
from actions.catalog.autoscaling._processes import ChangesProcesses


class ResumeProcesses(ChangesProcesses):
    name = "resume_processes"
    allowed_during_changes = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ResumeProcesses",
    )
    undone_by = "suspend_processes"

    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        return wanted & suspended

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.resume_processes(**self.arguments(call))
        return {}
