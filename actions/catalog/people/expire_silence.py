"""End silences of Alertmanager by their ids. It rolls back `create_silence`, which records them.

```yaml
- action: expire_silence
  params: {silences: [b3b1c9a0-6a3f-4d4f-8a52-3f1a2b3c4d5e]}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.base import Call, Params
from actions.catalog.people._unobservable import Unobservable


class ExpireSilenceParams(Params):
    silences: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")]],
        Field(min_length=1, max_length=10),
    ]


class ExpireSilence(Unobservable):
    name = "expire_silence"
    idempotent = True
    permissions = ()
    params = ExpireSilenceParams

    def act(self, call: Call) -> Mapping[str, Any]:
        for silence_id in call.params["silences"]:
            call.messenger.expire_silence(silence_id)
        return {}
