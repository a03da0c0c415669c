"""Take one instance out of everything and stop it: quarantined, out of its group, stopped.

Its disks are kept as snapshots. Its Auto Scaling group launches another one in its place; for that
it is detached, as a group would terminate a stopped member and its evidence with it. A person must
approve each one, whatever the mode.

```yaml
- action: emergency_shutdown
  params: {security_group: sg-0123456789abcdef0}
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_group, read_instance
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    TargetKind,
    Undo,
)
from actions.catalog.ec2 import isolation

_STOPPED = frozenset({"stopping", "stopped"})


class EmergencyShutdown(Action):
    name: ClassVar[str] = "emergency_shutdown"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DESTRUCTIVE
    removes_capacity: ClassVar[bool] = True
    needs_approval: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        *isolation.PERMISSIONS,
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DetachInstances",
        "ec2:StopInstances",
    )
    params: ClassVar[type[Params]] = isolation.Isolation
    undone_by: ClassVar[str | None] = "end_emergency_shutdown"

    def observe(self, call: Call) -> Observation:
        isolation.check(call)
        found = read_instance(call.aws, call.target)
        if found.state not in _STOPPED | {"running"}:
            raise NotActionableError(f"{call.target} is {found.state}")
        already = found.state in _STOPPED and isolation.isolated(call)
        before = {
            "groups": isolation.groups(call),
            "state": found.state,
            "group": found.group or "",
        }
        return Observation(already=already, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        isolation.isolate(call)
        name = call.before["group"]
        if name and call.target in read_group(call.aws, name).members:
            call.aws.autoscaling_once.detach_instances(
                InstanceIds=[call.target],
                AutoScalingGroupName=name,
                ShouldDecrementDesiredCapacity=False,
            )
        call.aws.ec2.stop_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        if self.unchanged_since(call):
            return CallResult(Outcome.CHANGED)
        untouched = isolation.groups(call) == call.before["groups"]
        return CallResult(Outcome.FAILED if untouched else Outcome.UNKNOWN)

    def progress(self, call: Call) -> Progress:
        state = read_instance(call.aws, call.target).state
        return Progress.DONE if state == "stopped" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("end_emergency_shutdown", {"groups": call.before["groups"]})

    def unchanged_since(self, call: Call) -> bool:
        stopped = read_instance(call.aws, call.target).state in _STOPPED
        return stopped and isolation.isolated(call)
