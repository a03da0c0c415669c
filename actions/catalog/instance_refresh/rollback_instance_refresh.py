"""Roll the running instance refresh of an Auto Scaling group back to the former version.

The remedy where members of a new launch-template version fail together. With `refresh_id` only
that very refresh is rolled back, otherwise whichever runs.

```yaml
- action: rollback_instance_refresh
  when: group.one_version
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.base import Call
from actions.catalog.instance_refresh.refreshes import EndsRefresh


class RollbackInstanceRefresh(EndsRefresh):
    name: ClassVar[str] = "rollback_instance_refresh"
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:RollbackInstanceRefresh",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
    )
    states: ClassVar[tuple[str, str]] = ("RollbackInProgress", "RollbackSuccessful")

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.rollback_instance_refresh(AutoScalingGroupName=call.target)
        return {"refresh_id": call.before["refresh_id"]}
