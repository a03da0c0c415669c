"""Restart one service of an instance, through Systems Manager.

The document `SmartCloudOps-RestartService` (in `deploy/ssm/`) restarts a systemd unit. The rest of
the host goes on; what the service held in memory is lost.

```yaml
- action: restart_service
  params: {service: nginx}
  when: verdict.answer == "confirmed"
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from actions.base import Action, Call, CallResult, Impact, Observation, Params, Progress, TargetKind
from actions.catalog.ssm import commands

DOCUMENT = "SmartCloudOps-RestartService"


class Service(Params):
    service: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]


class RestartService(Action):
    name: ClassVar[str] = "restart_service"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = commands.PERMISSIONS
    params: ClassVar[type[Params]] = Service

    def observe(self, call: Call) -> Observation:
        return commands.observe(call)

    def act(self, call: Call) -> Mapping[str, Any]:
        given = {"Service": call.params["service"], "Token": call.token}
        return commands.send(call, DOCUMENT, given)

    def read_back(self, call: Call) -> CallResult:
        return commands.read_back(call)

    def progress(self, call: Call) -> Progress:
        return commands.progress(call)
