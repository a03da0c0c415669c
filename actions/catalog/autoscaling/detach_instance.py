"""Take one member out of its Auto Scaling group; it keeps running, in no group.

The desired capacity is lowered by one, so that the group launches no replacement. The result must
not be below the group's minimum. It is refused where the zones would be out of balance: the group
would launch a member in the zone of this one and terminate a healthy one elsewhere.

```yaml
- action: detach_instance
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.group_behaviour import unbalances
from actions.aws.groups import read_group, read_member
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Progress,
    TargetKind,
    Undo,
)
from actions.catalog.autoscaling._capacity import check_room


class DetachInstance(Action):
    name = "detach_instance"
    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    removes_capacity = True
    idempotent = False
    # Its connections drain, for up to an hour.
    takes_up_to_s = 3_600.0
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DetachInstances",
        "ec2:DescribeInstances",
    )
    undone_by = "attach_instance"

    def observe(self, call: Call) -> Observation:
        group, member = read_member(call.aws, call.target)
        if member.lifecycle != "InService":
            raise NotActionableError(
                f"{call.target} is {member.lifecycle}: only a member in service can be detached"
            )
        check_room(group, -member.units)
        if unbalances(group, member):
            raise NotActionableError(
                f"{group.name} would terminate another member to balance its zones: "
                "suspend AZRebalance for as long as this one is away"
            )
        return Observation(already=False, before={"group": group.name, "desired": group.desired})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.detach_instances(
            InstanceIds=[call.target],
            AutoScalingGroupName=call.before["group"],
            ShouldDecrementDesiredCapacity=True,
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        member = read_group(call.aws, call.before["group"]).members.get(call.target)
        gone = member is None or member.lifecycle.startswith("Detach")
        return CallResult(Outcome.CHANGED if gone else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        member = read_group(call.aws, call.before["group"]).members.get(call.target)
        gone = member is None or member.lifecycle == "Detached"
        return Progress.DONE if gone else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("attach_instance", {"group": call.before["group"]})

    def unchanged_since(self, call: Call) -> bool:
        instance = read_instance(call.aws, call.target)
        return instance.state == "running" and instance.group is None
