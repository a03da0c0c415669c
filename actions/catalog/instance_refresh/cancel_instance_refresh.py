"""Cancel the running instance refresh of an Auto Scaling group: no further member is replaced.

What it replaced stays replaced. For where AWS cannot roll back, as with `$Latest` as a version.

```yaml
- action: cancel_instance_refresh
  when: group.one_version
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.base import Call
from actions.catalog.instance_refresh.refreshes import EndsRefresh


class CancelInstanceRefresh(EndsRefresh):
    name: ClassVar[str] = "cancel_instance_refresh"
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:CancelInstanceRefresh",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
    )
    states: ClassVar[tuple[str, str]] = ("Cancelling", "Cancelled")

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.cancel_instance_refresh(AutoScalingGroupName=call.target)
        return {"refresh_id": call.before["refresh_id"]}
