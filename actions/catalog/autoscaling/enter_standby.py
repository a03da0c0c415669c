"""Put one member of an Auto Scaling group into standby, without traffic, for examination.

The desired capacity is lowered by one, so that the group launches no replacement. The result must
not be below the group's minimum. The group checks no member in standby, and keeps it.

Where the zones would be out of balance, the group would launch a member in the zone of this one and
terminate a healthy one elsewhere: AZRebalance is then suspended first. It is resumed once the
member is back, also after the end of the run.

```yaml
- action: enter_standby
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.group_behaviour import unbalances
from actions.aws.groups import read_group, read_member
from actions.aws.target_errors import NotActionableError
from actions.aws.waits import draining_s
from actions.base import Call, Observation, Progress
from actions.catalog.autoscaling._standby import CHANGES_WITHIN_S, ChangesStandby
from actions.catalog.autoscaling.suspend_processes import SuspendProcesses


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
    safeguard = SuspendProcesses()
    start = "InService"
    moves_to = frozenset({"EnteringStandby", "Standby"})
    difference = -1
    # A target is drained first: up to the longest delay that a target group may have.
    takes_up_to_s = 3_600.0

    def must_precede(self, call: Call) -> tuple[str, Mapping[str, Any]] | None:
        group, member = read_member(call.aws, call.target)
        leaves = member.lifecycle == self.start and unbalances(group, member)
        return (group.name, {"processes": ["AZRebalance"]}) if leaves else None

    def observe(self, call: Call) -> Observation:
        observation = super().observe(call)
        # Nothing precedes a rollback.
        if call.reverses and not observation.already:
            group, member = read_member(call.aws, call.target)
            if unbalances(group, member):
                raise NotActionableError(
                    f"{group.name} would terminate another member to balance its zones: "
                    "suspend AZRebalance for as long as this one is away"
                )
        return observation

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
