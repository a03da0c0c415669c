"""End silences of Alertmanager by their ids: the undoing of `create_silence`, which knows them.

```yaml
- action: expire_silence
  params: {silences: [b3b1c9a0-6a3f-4d4f-8a52-3f1a2b3c4d5e]}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind


class Silences(Params):
    silences: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")]],
        Field(min_length=1, max_length=10),
    ]


class ExpireSilence(Action):
    name: ClassVar[str] = "expire_silence"
    target: ClassVar[TargetKind] = TargetKind.ANY
    impact: ClassVar[Impact] = Impact.HARMLESS
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = ()
    params: ClassVar[type[Params]] = Silences

    def observe(self, call: Call) -> Observation:
        del call
        return Observation(already=False, before={})

    def act(self, call: Call) -> Mapping[str, Any]:
        for silence_id in call.params["silences"]:
            call.messenger.expire_silence(silence_id)
        return {}

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)
