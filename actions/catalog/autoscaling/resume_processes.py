"""Resume suspended processes of an Auto Scaling group.

```yaml
- action: resume_processes
  params: {processes: [ReplaceUnhealthy]}
```
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from actions.base import Call
from actions.catalog.autoscaling.processes import ChangesProcesses


class ResumeProcesses(ChangesProcesses):
    name: ClassVar[str] = "resume_processes"
    allowed_during_changes: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ResumeProcesses",
    )
    undone_by: ClassVar[str | None] = "suspend_processes"

    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        return wanted & suspended

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.resume_processes(**self.asked(call))
        return {}
