"""Notify the recipients that the notification file tags `to`: Slack, Teams, e-mail, a pager.

```yaml
escalate:
  - action: notify
    params: {to: oncall, message: "$asg needs a person"}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from actions.base import Call, Params
from actions.catalog.people._unobservable import Unobservable, text_of, title_of


class NotifyParams(Params):
    to: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    message: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Notify(Unobservable):
    name = "notify"
    idempotent = False
    permissions = ()
    params = NotifyParams

    def act(self, call: Call) -> Mapping[str, Any]:
        call.messenger.notify(call.params["to"], title_of(call), text_of(call))
        return {}
