"""Tell people, through whatever the notification file calls `to`: Slack, Teams, e-mail, a pager.

```yaml
escalate:
  - action: notify
    params: {to: oncall, message: "$asg needs a person"}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind


class Message(Params):
    to: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    message: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Notify(Action):
    name: ClassVar[str] = "notify"
    target: ClassVar[TargetKind] = TargetKind.ANY
    impact: ClassVar[Impact] = Impact.HARMLESS
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ()
    params: ClassVar[type[Params]] = Message

    def observe(self, call: Call) -> Observation:
        del call
        return Observation(already=False, before={})

    def act(self, call: Call) -> Mapping[str, Any]:
        run_id = call.token.partition("/")[0]
        title = f"SmartCloudOps: {call.target}"
        text = f"{call.params['message']}\nTarget {call.target}, run {run_id}"
        call.messenger.notify(call.params["to"], title, text)
        return {}

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)
