"""Bring one member of a group back from standby; it raises the desired capacity by one.

The member is pending first, runs through the group's lifecycle hooks and is health-checked again:
one that is still ill is replaced by its group. So it is refused for a member that was stopped
meanwhile, or is in quarantine. While it is still on its way into standby, the step waits.

```yaml
- action: exit_standby
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_member
from actions.aws.instances import read_instance
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError
from actions.aws.waits import launch_hooks_s
from actions.base import Call, Observation, Progress
from actions.catalog.autoscaling._standby import (
    CHANGES_WITHIN_S,
    ChangesStandby,
    require_running,
)


class ExitStandby(ChangesStandby):
    name = "exit_standby"
    allowed_during_changes = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:ExitStandby",
        "ec2:DescribeInstances",
    )
    undone_by = "enter_standby"
    # Ten health checks of a load balancer; the group's hooks have a time of their own.
    takes_up_to_s = 3_600.0
    start = "Standby"
    moves_to = frozenset({"Pending", "Pending:Wait", "Pending:Proceed", "InService"})
    difference = 1

    def observe(self, call: Call) -> Observation:
        observation = super().observe(call)
        if not observation.already:
            instance = read_instance(call.aws, call.target)
            require_running(instance)
            if QUARANTINE_TAG in instance.tags:
                raise NotActionableError(
                    f"{call.target} is in quarantine: its group would replace it in service"
                )
        return observation

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.exit_standby(
            InstanceIds=[call.target], AutoScalingGroupName=call.before["group"]
        )
        return {}

    def lasts_up_to_s(self, call: Call) -> float:
        return launch_hooks_s(call.aws, call.before["group"]) + CHANGES_WITHIN_S

    def progress(self, call: Call) -> Progress:
        _, member = read_member(call.aws, call.target)
        return Progress.DONE if member.serves else Progress.UNDERWAY
