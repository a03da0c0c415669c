"""Start an instance again that was shut down in an emergency, with its former security groups.

It stays outside its Auto Scaling group, which has launched another one meanwhile.

```yaml
- action: end_emergency_shutdown
  params:
    groups: {eni-0123456789abcdef0: [sg-0123456789abcdef0]}
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_instance
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind
from actions.catalog.ec2 import isolation
from actions.catalog.ec2.release_quarantine import Former, ReleaseQuarantine

_RUNNING = frozenset({"pending", "running"})
_release = ReleaseQuarantine()


class EndEmergencyShutdown(Action):
    name: ClassVar[str] = "end_emergency_shutdown"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    allowed_during_changes: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (*isolation.RELEASING, "ec2:StartInstances")
    params: ClassVar[type[Params]] = Former

    def observe(self, call: Call) -> Observation:
        state = read_instance(call.aws, call.target).state
        if state not in _RUNNING | {"stopped"}:
            raise NotActionableError(f"{call.target} is {state}")
        seen = _release.observe(call)
        already = seen.already and state in _RUNNING
        return Observation(already=already, before={**seen.before, "state": state})

    def act(self, call: Call) -> Mapping[str, Any]:
        _release.act(call)
        call.aws.ec2.start_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        released = _release.read_back(call)
        if released.outcome is not Outcome.CHANGED:
            return released
        running = read_instance(call.aws, call.target).state in _RUNNING
        return CallResult(Outcome.CHANGED if running else Outcome.UNKNOWN)
