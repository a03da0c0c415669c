"""Terminate one member of an Auto Scaling group, so that the group launches another one.

The desired capacity stays. The instance, its memory and its disks are gone. A member that is
protected from scale-in, or a group that does not launch at present, is refused.

```yaml
- action: replace_instance
  when: verdict.answer == "confirmed" and group.peers_moved == 0
  verify:
    expr: count(up{asg="$asg"} == 1) >= bool 6
```

After it, metrics of the old instance are no proof of anything: a step that replaces needs a
verification of the group, as above.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_group, read_member
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Progress,
    TargetKind,
)

_NEEDED = frozenset({"Launch", "Terminate"})


class ReplaceInstance(Action):
    name: ClassVar[str] = "replace_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DESTRUCTIVE
    removes_capacity: ClassVar[bool] = True
    # By id, and without decrement: a second call cannot take another one.
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "ec2:DescribeInstances",
    )

    def observe(self, call: Call) -> Observation:
        found, seen = read_member(call.aws, call.target)
        if seen.lifecycle != "InService":
            raise NotActionableError(f"{call.target} is {seen.lifecycle}")
        if seen.protected:
            raise NotActionableError(f"{call.target} is protected from scale-in")
        if found.suspended & _NEEDED:
            which = ", ".join(sorted(found.suspended & _NEEDED))
            raise NotActionableError(f"{found.name} has suspended {which}")
        before = {"group": found.name, "desired": found.desired}
        return Observation(already=False, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        answer = call.aws.autoscaling_once.terminate_instance_in_auto_scaling_group(
            InstanceId=call.target, ShouldDecrementDesiredCapacity=False
        )
        return {"activity_id": answer.get("Activity", {}).get("ActivityId", "")}

    def read_back(self, call: Call) -> CallResult:
        seen = read_group(call.aws, call.before["group"]).members.get(call.target)
        going = seen is None or seen.lifecycle.startswith("Terminat")
        return CallResult(Outcome.CHANGED if going else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        found = read_group(call.aws, call.before["group"])
        whole = len(found.in_service) >= min(found.desired, call.before["desired"])
        gone = call.target not in found.members
        return Progress.DONE if gone and whole else Progress.UNDERWAY
