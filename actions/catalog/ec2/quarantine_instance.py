"""Cut one instance off from the network, and keep its disks for forensics; it keeps running.

A member of a group is put into standby, since its group would replace whom its load balancer does
not reach. Another is launched where the group is at its minimum, or where its zones would be out of
balance and AZRebalance would terminate a healthy one. Then every interface gets only the isolating
security group; where the VPC has a group `smartcloudops-untracked`, with rules for all addresses
both ways, open connections end too. The instance is tagged `smartcloudops:quarantined` only once it
is cut off, and a snapshot of each disk is taken. What fails stops nothing else; the step is then
`unknown` and lists what is undone. A member that AWS does not let into standby is cut off all the
same: a group that would replace it gets HealthCheck and ReplaceUnhealthy suspended, and they are
resumed once a person has taken the member out of service.

```yaml
- action: quarantine_instance
  params: {security_group: smartcloudops-isolation}
  ask: true
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.group_behaviour import unbalances
from actions.aws.groups import read_group
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Call,
    CallResult,
    Impact,
    Observation,
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


class QuarantineInstance(ContainsInstance):
    name = "quarantine_instance"
    impact = Impact.DISRUPTIVE
    permissions = (
        *ContainsInstance.permissions,
        "autoscaling:EnterStandby",
    )
    undone_by = "release_quarantine"

    def observe(self, call: Call) -> Observation:
        check_isolates(call)
        instance = read_instance(call.aws, call.target)
        state = instance.state
        groups = security_groups(call)
        if state not in {"running", "stopped"} or not groups:
            raise NotActionableError(
                f"{call.target} is {state} with {len(groups)} interfaces: "
                "only a running or stopped instance with an interface can be quarantined"
            )
        group = instance.group or ""
        before = {
            "groups": groups,
            "untracking": untracking_group(call),
            "group": group if group and _serves(call, group) else "",
        }
        return Observation(already=is_isolated(call), before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        attempts = Attempts()
        attempts(lambda: _leave_group(call))
        cut_off(call, attempts)
        keep_evidence(call, attempts)
        attempts.check()
        return {}

    def read_back(self, call: Call) -> CallResult:
        missing = undone(call)
        group = call.before.get("group", "")
        serves = bool(group) and _serves(call, group)
        if serves:
            missing = [*missing, f"{call.target} is in service in {group}"]
        return settled(call, missing, moved=bool(group) and not serves)

    def undo(self, call: Call) -> Undo | None:
        standby = bool(call.before.get("group"))
        return Undo(
            "release_quarantine", {"groups": call.before["groups"], "exit_standby": standby}
        )

    def unchanged_since(self, call: Call) -> bool:
        return is_ours(call)


def _serves(call: Call, group: str) -> bool:
    member = read_group(call.aws, group).members.get(call.target)
    return member is not None and member.lifecycle == "InService"


def _leave_group(call: Call) -> object:
    """Into standby, where no health check of the group applies.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html
    """
    name = call.before.get("group", "")
    if not name or not _serves(call, name):
        return None
    group = read_group(call.aws, name)
    member = group.members[call.target]
    room = group.desired - member.units >= group.minimum
    spare = room and not unbalances(group, member)
    return call.aws.autoscaling_once.enter_standby(
        InstanceIds=[call.target],
        AutoScalingGroupName=name,
        ShouldDecrementDesiredCapacity=spare,
    )
