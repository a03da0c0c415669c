"""Take one member out of its Auto Scaling group; it runs on, and belongs to nobody.

The desired capacity is lowered by one, so that nothing is launched in its place, and must not fall
below the group's minimum.

```yaml
- action: detach_instance
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_group, read_instance, read_member
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, TargetKind, Undo


class DetachInstance(Action):
    name: ClassVar[str] = "detach_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DetachInstances",
        "ec2:DescribeInstances",
    )
    undone_by: ClassVar[str | None] = "attach_instance"

    def observe(self, call: Call) -> Observation:
        found, seen = read_member(call.aws, call.target)
        if seen.lifecycle != "InService":
            raise NotActionableError(f"{call.target} is {seen.lifecycle}")
        if found.desired - 1 < found.minimum:
            raise NotActionableError(f"{found.name} is at its minimum of {found.minimum}")
        return Observation(already=False, before={"group": found.name, "desired": found.desired})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.detach_instances(
            InstanceIds=[call.target],
            AutoScalingGroupName=call.before["group"],
            ShouldDecrementDesiredCapacity=True,
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        seen = read_group(call.aws, call.before["group"]).members.get(call.target)
        gone = seen is None or seen.lifecycle.startswith("Detach")
        return CallResult(Outcome.CHANGED if gone else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        return Undo("attach_instance", {"group": call.before["group"]})

    def unchanged_since(self, call: Call) -> bool:
        found = read_instance(call.aws, call.target)
        return found.state == "running" and found.group is None
