"""Roll the unfinished instance refresh of an Auto Scaling group back to the previous version.

Use it where members of a new launch-template version fail together. With `refresh_id`, only that
refresh may be rolled back; by default it is the unfinished refresh.

```yaml
- action: rollback_instance_refresh
  when: group.one_version
```
"""

from collections.abc import Mapping
from typing import Any

from actions.base import Call
from actions.catalog.instance_refresh._refreshes import EndsRefresh


class RollbackInstanceRefresh(EndsRefresh):
    name = "rollback_instance_refresh"
    removes_members = True
    permissions = (
        "autoscaling:RollbackInstanceRefresh",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
    )
    states = ("RollbackInProgress", "RollbackSuccessful")

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.rollback_instance_refresh(AutoScalingGroupName=call.target)
        return {"refresh_id": call.before["refresh_id"]}
