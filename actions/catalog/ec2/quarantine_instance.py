"""Cut one instance off from the network, and keep its disks for forensics; it runs on.

Every interface gets the isolating security group alone; the instance is tagged
`smartcloudops:quarantined`, and a snapshot of each disk is taken first.

```yaml
- action: quarantine_instance
  params: {security_group: sg-0123456789abcdef0}
  ask: true
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_instance
from actions.base import Action, Call, CallResult, Impact, Observation, Params, TargetKind, Undo
from actions.catalog.ec2 import isolation


class QuarantineInstance(Action):
    name: ClassVar[str] = "quarantine_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = isolation.PERMISSIONS
    params: ClassVar[type[Params]] = isolation.Isolation
    undone_by: ClassVar[str | None] = "release_quarantine"

    def observe(self, call: Call) -> Observation:
        isolation.check(call)
        state = read_instance(call.aws, call.target).state
        found = isolation.groups(call)
        if state not in {"running", "stopped"} or not found:
            raise NotActionableError(f"{call.target} is {state}, with {len(found)} interfaces")
        return Observation(already=isolation.isolated(call), before={"groups": found})

    def act(self, call: Call) -> Mapping[str, Any]:
        isolation.isolate(call)
        return {}

    def read_back(self, call: Call) -> CallResult:
        return isolation.reconciled(call)

    def undo(self, call: Call) -> Undo | None:
        return Undo("release_quarantine", {"groups": call.before["groups"]})

    def unchanged_since(self, call: Call) -> bool:
        return isolation.isolated(call)
