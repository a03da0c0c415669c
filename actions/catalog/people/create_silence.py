"""Silence the alerts about the target that the run itself is expected to cause.

Each alert name gets one silence, which matches that name and this target. The silences end with the
run, or after `duration_s` seconds if that is earlier.

```yaml
- action: reboot_instance
  before:
    - action: create_silence
      params: {alertnames: [InstanceDown, ServiceDown], duration_s: 600}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.instances import INSTANCE_ID
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    TargetKind,
    Undo,
)
from actions.messaging import MessengerError

AlertName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class CreateSilenceParams(Params):
    alertnames: Annotated[list[AlertName], Field(min_length=1, max_length=10)]
    duration_s: Annotated[int, Field(ge=60, le=14_400)] = 600


class CreateSilence(Action):
    name = "create_silence"
    target = TargetKind.ANY
    impact = Impact.HARMLESS
    released_at_end = True
    idempotent = False
    permissions = ()
    params = CreateSilenceParams
    undone_by = "expire_silence"

    def observe(self, call: Call) -> Observation:
        silences = list(call.messenger.find_silences(call.token))
        return Observation(already=bool(silences), before={})

    def act(self, call: Call) -> Mapping[str, Any]:
        label = "instance_id" if INSTANCE_ID.fullmatch(call.target) else "asg"
        created: list[str] = []
        try:
            for name in call.params["alertnames"]:
                silence_id = call.messenger.create_silence(
                    {"alertname": name, label: call.target},
                    lasts_s=call.params.get("duration_s", 600),
                    comment=call.token,
                )
                created.append(silence_id)
        except MessengerError as error:
            # Not reported as failed: a failed step is not rolled back, and the silences already
            # created would outlive the run.
            raise MessengerError(str(error), sent=error.sent or bool(created)) from error
        return {"silences": created}

    def read_back(self, call: Call) -> CallResult:
        silences = list(call.messenger.find_silences(call.token))
        if not silences:
            return CallResult(Outcome.FAILED)
        complete = len(silences) == len(call.params["alertnames"])
        return CallResult(Outcome.CHANGED if complete else Outcome.UNKNOWN, {"silences": silences})

    def undo(self, call: Call) -> Undo | None:
        silences = call.made.get("silences")
        return Undo("expire_silence", {"silences": silences}) if silences else None

    def unchanged_since(self, call: Call) -> bool:
        return bool(call.messenger.find_silences(call.token))
