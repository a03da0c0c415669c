"""Silence alerts about the target that our own work is expected to cause, while the run lasts.

One silence a name, with exactly the alert's name and the target as its matchers. It ends with the
run, and after `duration_s` by itself.

```yaml
- action: reboot_instance
  before:
    - action: create_silence
      params: {alertnames: [InstanceDown, ServiceDown], duration_s: 600}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.aws.inventory import INSTANCE_ID
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


class Silence(Params):
    alertnames: Annotated[list[AlertName], Field(min_length=1, max_length=10)]
    duration_s: Annotated[int, Field(ge=60, le=14_400)] = 600


class CreateSilence(Action):
    name: ClassVar[str] = "create_silence"
    target: ClassVar[TargetKind] = TargetKind.ANY
    impact: ClassVar[Impact] = Impact.HARMLESS
    released_at_end: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ()
    params: ClassVar[type[Params]] = Silence
    undone_by: ClassVar[str | None] = "expire_silence"

    def observe(self, call: Call) -> Observation:
        there = list(call.messenger.find_silences(call.token))
        return Observation(already=bool(there), before={})

    def act(self, call: Call) -> Mapping[str, Any]:
        kind = "instance_id" if INSTANCE_ID.fullmatch(call.target) else "asg"
        made: list[str] = []
        try:
            for name in call.params["alertnames"]:
                silence_id = call.messenger.create_silence(
                    {"alertname": name, kind: call.target},
                    lasts_s=call.params.get("duration_s", 600),
                    comment=call.token,
                )
                made.append(silence_id)
        except MessengerError as error:
            # Called a plain failure, those before it would outlive the run.
            raise MessengerError(str(error), sent=error.sent or bool(made)) from error
        return {"silences": made}

    def read_back(self, call: Call) -> CallResult:
        there = list(call.messenger.find_silences(call.token))
        if not there:
            return CallResult(Outcome.FAILED)
        whole = len(there) == len(call.params["alertnames"])
        return CallResult(Outcome.CHANGED if whole else Outcome.UNKNOWN, {"silences": there})

    def undo(self, call: Call) -> Undo | None:
        made = call.made.get("silences")
        return Undo("expire_silence", {"silences": made}) if made else None

    def unchanged_since(self, call: Call) -> bool:
        return bool(call.messenger.find_silences(call.token))
