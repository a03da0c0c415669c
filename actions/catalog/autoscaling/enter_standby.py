"""Put one member of an Auto Scaling group into standby, without traffic, for examination.

The desired capacity is lowered by one, so that the group launches no replacement. The result must
not be below the group's minimum.

```yaml
- action: enter_standby
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_group, read_member
from actions.aws.waits import draining_s
from actions.base import Call, Progress
from actions.catalog.autoscaling._standby import CHANGES_WITHIN_S, ChangesStandby


class EnterStandby(ChangesStandby):
    name = "enter_standby"
    removes_capacity = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:EnterStandby",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
    )
    undone_by = "exit_standby"
    start = "InService"
    reached = frozenset({"EnteringStandby", "Standby"})
    difference = -1
    # A target is drained first: up to the longest delay that a target group may have.
    takes_up_to_s = 3_600.0

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.enter_standby(
            InstanceIds=[call.target],
            AutoScalingGroupName=call.before["group"],
            ShouldDecrementDesiredCapacity=True,
        )
        return {}

    def lasts_up_to_s(self, call: Call) -> float:
        group = read_group(call.aws, call.before["group"])
        return draining_s(call.aws, group.target_groups) + CHANGES_WITHIN_S

    def progress(self, call: Call) -> Progress:
        _, member = read_member(call.aws, call.target)
        return Progress.DONE if member.lifecycle == "Standby" else Progress.UNDERWAY
