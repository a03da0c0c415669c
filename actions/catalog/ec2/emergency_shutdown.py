"""Shut one instance down in an emergency: it is quarantined, detached from its group and stopped.

Its disks are kept as snapshots. It is detached because its Auto Scaling group would terminate a
stopped member and thereby destroy the evidence. The group launches a replacement. A person must
approve each shutdown, whatever the mode.

```yaml
- action: emergency_shutdown
  params: {security_group: smartcloudops-isolation}
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_group
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
from actions.catalog.ec2._isolation import (
    ISOLATE_PERMISSIONS,
    IsolationParams,
    check_isolates,
    is_isolated,
    isolate,
    security_groups,
    unchanged_or_unknown,
    with_group_id,
)
from actions.catalog.ec2._power import STOPPED


class EmergencyShutdown(Action):
    name = "emergency_shutdown"
    target = TargetKind.INSTANCE
    impact = Impact.DESTRUCTIVE
    removes_capacity = True
    needs_approval = True
    idempotent = True
    permissions = (
        *ISOLATE_PERMISSIONS,
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DetachInstances",
        "ec2:StopInstances",
    )
    params = IsolationParams
    undone_by = "end_emergency_shutdown"

    def bind(self, call: Call) -> Mapping[str, Any]:
        return with_group_id(call)

    def observe(self, call: Call) -> Observation:
        check_isolates(call)
        instance = read_instance(call.aws, call.target)
        if instance.state not in STOPPED | {"running"}:
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance is shut down"
            )
        already = instance.state in STOPPED and is_isolated(call)
        before = {
            "groups": security_groups(call),
            "state": instance.state,
            "group": instance.group or "",
        }
        return Observation(already=already, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        isolate(call)
        group = call.before["group"]
        if group and call.target in read_group(call.aws, group).members:
            call.aws.autoscaling_once.detach_instances(
                InstanceIds=[call.target],
                AutoScalingGroupName=group,
                ShouldDecrementDesiredCapacity=False,
            )
        call.aws.ec2.stop_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        if self.unchanged_since(call):
            return CallResult(Outcome.CHANGED)
        return unchanged_or_unknown(call)

    def progress(self, call: Call) -> Progress:
        state = read_instance(call.aws, call.target).state
        return Progress.DONE if state == "stopped" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("end_emergency_shutdown", {"groups": call.before["groups"]})

    def unchanged_since(self, call: Call) -> bool:
        stopped = read_instance(call.aws, call.target).state in STOPPED
        return stopped and is_isolated(call)
