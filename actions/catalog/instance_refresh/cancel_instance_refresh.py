"""Cancel the unfinished instance refresh of an Auto Scaling group: no more members are replaced.

Members already replaced keep the new version. Use it where AWS cannot roll back, for example with
the version `$Latest`.

```yaml
- action: cancel_instance_refresh
  when: group.one_version
```
"""

from collections.abc import Mapping
from typing import Any

from actions.base import Call
from actions.catalog.instance_refresh._refreshes import EndsRefresh


class CancelInstanceRefresh(EndsRefresh):
    name = "cancel_instance_refresh"
    permissions = (
        "autoscaling:CancelInstanceRefresh",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
    )
    states = ("Cancelling", "Cancelled")

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.cancel_instance_refresh(AutoScalingGroupName=call.target)
        return {"refresh_id": call.before["refresh_id"]}
