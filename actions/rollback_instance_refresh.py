"""Roll the running instance refresh of an Auto Scaling group back to the former version.

The remedy where members of a new launch-template version fail together. With `refresh_id` only
that very refresh is rolled back, otherwise whichever runs.

```yaml
- action: rollback_instance_refresh
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


class RollbackInstanceRefresh(Action):
    name: ClassVar[str] = "rollback_instance_refresh"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    amid_changes: ClassVar[bool] = True
    converges: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:RollbackInstanceRefresh",
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
        already = status in refreshes.ROLLING_BACK
        return Observation(already=already, before={"refresh_id": running})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.rollback_instance_refresh(AutoScalingGroupName=call.target)
        return {"refresh_id": call.before["refresh_id"]}

    def reconcile(self, call: Call) -> Settled:
        done = self._status(call) in refreshes.ROLLING_BACK
        return Settled(Outcome.CHANGED if done else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        status = self._status(call)
        if status == "RollbackSuccessful":
            return Progress.DONE
        return Progress.FAILED if status == "RollbackFailed" else Progress.UNDERWAY

    def _status(self, call: Call) -> str | None:
        found = refreshes.statuses(call.aws, call.target)
        return found.get(call.before["refresh_id"])
