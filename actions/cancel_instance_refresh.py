"""Cancel the running instance refresh of an Auto Scaling group: no further member is replaced.

What it replaced stays replaced. For where AWS cannot roll back, as with `$Latest` as a version.

```yaml
- action: cancel_instance_refresh
  when: group.one_version
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from actions import refreshes
from actions.action import (
    Action,
    Call,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    Settled,
    TargetKind,
)
from actions.fleet import NotActionableError, group


class Which(Params):
    refresh_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None


class CancelInstanceRefresh(Action):
    name: ClassVar[str] = "cancel_instance_refresh"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    amid_changes: ClassVar[bool] = True
    converges: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:CancelInstanceRefresh",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
    )
    params: ClassVar[type[Params]] = Which

    def observe(self, call: Call) -> Observation:
        found = group(call.aws, call.target)
        running = refreshes.active(call.aws, found.name)
        wanted = call.params.get("refresh_id")
        if running is None or wanted not in {None, running}:
            raise NotActionableError(f"no such instance refresh of {found.name} runs")
        status = refreshes.statuses(call.aws, found.name)[running]
        already = status in refreshes.CANCELLING
        return Observation(already=already, before={"refresh_id": running})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.cancel_instance_refresh(AutoScalingGroupName=call.target)
        return {"refresh_id": call.before["refresh_id"]}

    def reconcile(self, call: Call) -> Settled:
        done = self._status(call) in refreshes.CANCELLING
        return Settled(Outcome.CHANGED if done else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        status = self._status(call)
        if status == "Cancelled":
            return Progress.DONE
        return Progress.UNDERWAY if status == "Cancelling" else Progress.FAILED

    def _status(self, call: Call) -> str | None:
        found = refreshes.statuses(call.aws, call.target)
        return found.get(call.before["refresh_id"])
