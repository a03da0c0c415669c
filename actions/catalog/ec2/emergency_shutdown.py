"""Shut one instance down in an emergency: it is detached from its group, quarantined and stopped.

Its disks are kept as snapshots. It is detached because its Auto Scaling group would terminate a
stopped member and thereby destroy the evidence; where that fails, it is cut off and runs on, and
its group keeps it as in `quarantine_instance`. Otherwise the group launches a replacement. A person
must approve each shutdown, whatever the mode.

```yaml
- action: emergency_shutdown
  params: {security_group: smartcloudops-isolation}
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import Member, read_group
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Call,
    CallResult,
    Impact,
    Observation,
    Progress,
    Undo,
)
from actions.catalog.ec2._attempts import Attempts
from actions.catalog.ec2._containment import ContainsInstance
from actions.catalog.ec2._isolation import (
    check_isolates,
    cut_off,
    is_isolated,
    is_ours,
    keep_evidence,
    security_groups,
    settled,
    undone,
    untracking_group,
)
from actions.catalog.ec2._power import STOPPED


class EmergencyShutdown(ContainsInstance):
    name = "emergency_shutdown"
    impact = Impact.DESTRUCTIVE
    needs_approval = True
    permissions = (
        *ContainsInstance.permissions,
        "autoscaling:DetachInstances",
        "ec2:StopInstances",
    )
    undone_by = "end_emergency_shutdown"
    # A forced stop may take minutes.
    takes_up_to_s = 600.0

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
            "untracking": untracking_group(call),
            "state": instance.state,
            "group": instance.group or "",
        }
        return Observation(already=already, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        attempts = Attempts()
        left = attempts(lambda: _leave_group(call))
        cut_off(call, attempts)
        if left:
            attempts(lambda: call.aws.ec2.stop_instances(InstanceIds=[call.target]))
        keep_evidence(call, attempts)
        attempts.check()
        return {}

    def read_back(self, call: Call) -> CallResult:
        missing, state = undone(call), read_instance(call.aws, call.target).state
        if state not in STOPPED:
            missing = [*missing, f"{call.target} is {state}"]
        left = bool(call.before["group"]) and _member(call) is None
        return settled(call, missing, moved=left or state != call.before["state"])

    def progress(self, call: Call) -> Progress:
        state = read_instance(call.aws, call.target).state
        return Progress.DONE if state == "stopped" else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("end_emergency_shutdown", {"groups": call.before["groups"]})

    def unchanged_since(self, call: Call) -> bool:
        state = read_instance(call.aws, call.target).state
        return state in STOPPED | {call.before["state"]} and is_ours(call)


def _member(call: Call) -> Member | None:
    """The target in its group; None where it has left, or is on its way out."""
    group = call.before["group"]
    member = read_group(call.aws, group).members.get(call.target) if group else None
    return None if member is None or member.lifecycle == "Detaching" else member


def _leave_group(call: Call) -> object:
    """AWS refuses to detach a member that is `Detaching`."""
    if _member(call) is None:
        return None
    return call.aws.autoscaling_once.detach_instances(
        InstanceIds=[call.target],
        AutoScalingGroupName=call.before["group"],
        ShouldDecrementDesiredCapacity=False,
    )
