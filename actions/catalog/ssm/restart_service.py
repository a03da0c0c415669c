"""Restart one service of an instance, through Systems Manager.

The document `SmartCloudOps-RestartService` (in `deploy/ssm/`) restarts a systemd unit. The rest of
the host keeps running; the memory of the service is lost. A group that asks its load balancer about
health replaces the host if the service stays away.

```yaml
- action: restart_service
  params: {service: nginx}
  when: verdict.answer == "confirmed"
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from actions.base import Call, Params
from actions.catalog.ssm._commands import SendsCommand, send

DOCUMENT = "SmartCloudOps-RestartService"


class RestartServiceParams(Params):
    service: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]


class RestartService(SendsCommand):
    name = "restart_service"
    removes_capacity = True
    params = RestartServiceParams

    def act(self, call: Call) -> Mapping[str, Any]:
        parameters = {"Service": call.params["service"], "Token": call.token}
        return send(call, DOCUMENT, parameters)
