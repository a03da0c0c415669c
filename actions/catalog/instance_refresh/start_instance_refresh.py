"""Replace the members of an Auto Scaling group a few at a time, by its launch template's version.

AWS keeps `min_healthy_percentage` of them serving. One refresh of a group runs at a time. It takes
minutes: give the playbook's verification the time.

```yaml
- action: start_instance_refresh
  params: {min_healthy_percentage: 90, skip_matching: false}
  ask: true
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from actions.aws.inventory import NotActionableError, read_group
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    TargetKind,
    Undo,
)
from actions.catalog.instance_refresh import refreshes


class Refresh(Params):
    min_healthy_percentage: Annotated[int, Field(ge=50, le=100)] = 90
    skip_matching: bool = True
    auto_rollback: bool = False


class StartInstanceRefresh(Action):
    name: ClassVar[str] = "start_instance_refresh"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.DESTRUCTIVE
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
        "autoscaling:StartInstanceRefresh",
    )
    params: ClassVar[type[Params]] = Refresh
    undone_by: ClassVar[str | None] = "rollback_instance_refresh"

    def observe(self, call: Call) -> Observation:
        found = read_group(call.aws, call.target)
        known = refreshes.statuses(call.aws, found.name)
        if refreshes.ACTIVE & set(known.values()):
            raise NotActionableError(f"an instance refresh of {found.name} runs already")
        return Observation(already=False, before={"known": sorted(known)})

    def act(self, call: Call) -> Mapping[str, Any]:
        wanted = Refresh.model_validate(dict(call.params))
        answer = call.aws.autoscaling_once.start_instance_refresh(
            AutoScalingGroupName=call.target,
            Strategy="Rolling",
            Preferences={
                "MinHealthyPercentage": wanted.min_healthy_percentage,
                "SkipMatching": wanted.skip_matching,
                "AutoRollback": wanted.auto_rollback,
            },
        )
        return {"refresh_id": answer.get("InstanceRefreshId", "")}

    def read_back(self, call: Call) -> CallResult:
        """Only a refresh that was not there before is ours, and only if it is the one new one."""
        found = refreshes.statuses(call.aws, call.target)
        fresh = [one for one in found if one not in call.before["known"]]
        if len(fresh) == 1:
            return CallResult(Outcome.CHANGED, {"refresh_id": fresh[0]})
        return CallResult(Outcome.UNKNOWN if fresh else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        found = refreshes.statuses(call.aws, call.target)
        return refreshes.progress(found.get(call.made.get("refresh_id", "")))

    def undo(self, call: Call) -> Undo | None:
        refresh_id = call.made.get("refresh_id")
        return Undo("rollback_instance_refresh", {"refresh_id": refresh_id}) if refresh_id else None

    def unchanged_since(self, call: Call) -> bool:
        found = refreshes.statuses(call.aws, call.target)
        return found.get(call.made.get("refresh_id", "")) in refreshes.GOING_ON
