"""Replace an Auto Scaling group's members by instances of its launch template, a few at a time.

AWS keeps `min_healthy_percentage` of them serving, or more where the group's maintenance policy
keeps more; a warm pool follows. A group has at most one unfinished refresh. The timeout of the
verification begins once the refresh has ended. It is refused where the group has suspended what a
refresh needs, or its last launch failed. It is rolled back by being cancelled: AWS
goes back to an earlier version only if the refresh named the new one, as `restore_version` does;
what it has replaced stays.

```yaml
- action: start_instance_refresh
  params: {min_healthy_percentage: 90, skip_matching: false}
  ask: true
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from actions.aws.group_activities import ENDED
from actions.aws.group_behaviour import require_launches, require_processes
from actions.aws.groups import Group, read_group
from actions.aws.target_errors import NotActionableError
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
from actions.catalog.instance_refresh._refreshes import (
    TAKES_UP_TO_S,
    UNFINISHED,
    healthy_percentages,
    progress_of,
    read_statuses,
)


class StartInstanceRefreshParams(Params):
    min_healthy_percentage: Annotated[int, Field(ge=50, le=100)] = 90
    skip_matching: bool = True
    auto_rollback: bool = False


class StartInstanceRefresh(Action):
    name = "start_instance_refresh"
    target = TargetKind.GROUP
    impact = Impact.DESTRUCTIVE
    removes_members = True
    idempotent = False
    takes_up_to_s = TAKES_UP_TO_S
    cancelled_with = "autoscaling:CancelInstanceRefresh"
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:CancelInstanceRefresh",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeInstanceRefreshes",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:StartInstanceRefresh",
    )
    params: ClassVar[type[Params]] = StartInstanceRefreshParams
    undone_by = "cancel_instance_refresh"

    def observe(self, call: Call) -> Observation:
        group = read_group(call.aws, call.target)
        require_launches(call.aws, group)
        return self.observe_refreshes(call, group)

    def act(self, call: Call) -> Mapping[str, Any]:
        wanted = StartInstanceRefreshParams.model_validate(dict(call.params))
        answer = call.aws.autoscaling_once.start_instance_refresh(
            AutoScalingGroupName=call.target,
            Strategy="Rolling",
            Preferences={
                **healthy_percentages(
                    wanted.min_healthy_percentage, call.before.get("maintenance")
                ),
                "SkipMatching": wanted.skip_matching,
                "AutoRollback": wanted.auto_rollback,
            },
        )
        return {"refresh_id": answer.get("InstanceRefreshId", "")}

    @staticmethod
    def observe_refreshes(call: Call, group: Group) -> Observation:
        """Raises NotActionableError where AWS would not start a refresh now."""
        require_processes(group, "InstanceRefresh", "Launch", "Terminate")
        statuses = read_statuses(call.aws, group.name)
        if set(statuses.values()) - ENDED:
            raise NotActionableError(
                f"{group.name} has an unfinished instance refresh: wait for it, or cancel it"
            )
        before = {"refreshes": sorted(statuses), "maintenance": group.maintenance}
        return Observation(already=False, before=before)

    def read_back(self, call: Call) -> CallResult:
        """A refresh that `observe` did not list is this step's, if it is the only such refresh."""
        statuses = read_statuses(call.aws, call.target)
        new = [id_ for id_ in statuses if id_ not in call.before["refreshes"]]
        if len(new) == 1:
            return CallResult(Outcome.CHANGED, {"refresh_id": new[0]})
        return CallResult(Outcome.UNKNOWN if new else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        statuses = read_statuses(call.aws, call.target)
        return progress_of(statuses.get(call.made.get("refresh_id", "")))

    def cancel(self, call: Call) -> None:
        if self.unchanged_since(call):
            call.aws.autoscaling_once.cancel_instance_refresh(AutoScalingGroupName=call.target)

    def undo(self, call: Call) -> Undo | None:
        refresh_id = call.made.get("refresh_id")
        undo = Undo(self.undone_by or "", {"refresh_id": refresh_id})
        return undo if refresh_id else None

    def unchanged_since(self, call: Call) -> bool:
        statuses = read_statuses(call.aws, call.target)
        return statuses.get(call.made.get("refresh_id", "")) in UNFINISHED
