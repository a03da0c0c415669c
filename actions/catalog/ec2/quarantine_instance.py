"""Cut one instance off from the network, and keep its disks for forensics; it keeps running.

Every interface gets only the isolating security group; the instance is tagged
`smartcloudops:quarantined`, and a snapshot of each disk is taken first.

```yaml
- action: quarantine_instance
  params: {security_group: smartcloudops-isolation}
  ask: true
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
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


class QuarantineInstance(Action):
    name = "quarantine_instance"
    target = TargetKind.INSTANCE
    impact = Impact.DISRUPTIVE
    removes_capacity = True
    idempotent = True
    permissions = ISOLATE_PERMISSIONS
    params = IsolationParams
    undone_by = "release_quarantine"

    def bind(self, call: Call) -> Mapping[str, Any]:
        return with_group_id(call)

    def observe(self, call: Call) -> Observation:
        check_isolates(call)
        state = read_instance(call.aws, call.target).state
        groups = security_groups(call)
        if state not in {"running", "stopped"} or not groups:
            raise NotActionableError(
                f"{call.target} is {state} with {len(groups)} interfaces: "
                "only a running or stopped instance with an interface can be quarantined"
            )
        return Observation(already=is_isolated(call), before={"groups": groups})

    def act(self, call: Call) -> Mapping[str, Any]:
        isolate(call)
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED) if is_isolated(call) else unchanged_or_unknown(call)

    def undo(self, call: Call) -> Undo | None:
        return Undo("release_quarantine", {"groups": call.before["groups"]})

    def unchanged_since(self, call: Call) -> bool:
        return is_isolated(call)
