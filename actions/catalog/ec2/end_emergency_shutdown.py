"""Start an instance after an emergency shutdown, with its previous security groups.

It stays outside its Auto Scaling group, which has launched another instance in its place.

```yaml
- action: end_emergency_shutdown
  params:
    groups: {eni-0123456789abcdef0: [sg-0123456789abcdef0]}
```
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError, make_in_turn
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
from actions.catalog.ec2._isolation import RELEASE_PERMISSIONS
from actions.catalog.ec2._power import RUNNING
from actions.catalog.ec2.release_quarantine import ReleaseParams, ReleaseQuarantine

_release = ReleaseQuarantine()


class EndEmergencyShutdown(Action):
    name = "end_emergency_shutdown"
    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    instance_states = frozenset({"running", "stopped"})
    takes_outsiders = True
    allowed_during_changes = True
    idempotent = True
    # Another host may have to be found for it.
    takes_up_to_s = 600.0
    permissions = (*RELEASE_PERMISSIONS, "ec2:StartInstances")
    params = ReleaseParams

    def observe(self, call: Call) -> Observation:
        state = read_instance(call.aws, call.target).state
        if state not in RUNNING | {"stopped"}:
            raise NotActionableError(f"{call.target} is {state}: it must be stopped or running")
        released = _release.observe(call)
        already = released.already and state in RUNNING
        return Observation(already=already, before={**released.before, "state": state})

    def act(self, call: Call) -> Mapping[str, Any]:
        start = partial(call.aws.ec2.start_instances, InstanceIds=[call.target])
        make_in_turn(partial(_release.act, call), start)
        return {}

    def read_back(self, call: Call) -> CallResult:
        released = _release.read_back(call)
        if released.outcome is not Outcome.CHANGED:
            return released
        running = read_instance(call.aws, call.target).state in RUNNING
        return CallResult(Outcome.CHANGED if running else Outcome.UNKNOWN)

    def progress(self, call: Call) -> Progress:
        running = read_instance(call.aws, call.target).state == "running"
        return Progress.DONE if running else Progress.UNDERWAY
