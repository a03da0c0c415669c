"""Instance refreshes of a group, as AWS lists them.

States: https://docs.aws.amazon.com/autoscaling/ec2/userguide/check-status-instance-refresh.html
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from actions.aws.clients import Aws
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
)

GOING_ON = frozenset({"Pending", "InProgress", "Baking"})
ACTIVE = GOING_ON | {"Cancelling", "RollbackInProgress"}
_PROGRESS = {
    "Successful": Progress.DONE,
    "Failed": Progress.FAILED,
    "Cancelled": Progress.FAILED,
    "RollbackFailed": Progress.FAILED,
    "RollbackSuccessful": Progress.FAILED,
}


def statuses(aws: Aws, name: str) -> Mapping[str, str]:
    """Status by id, the latest first."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=name)
    return {
        one.get("InstanceRefreshId", ""): one.get("Status", "")
        for one in answer.get("InstanceRefreshes", [])
    }


def active(aws: Aws, name: str) -> str | None:
    """The id of the one that runs: a group has at most one."""
    found = statuses(aws, name)
    return next((one for one, status in found.items() if status in ACTIVE), None)


def progress(status: str | None) -> Progress:
    """How far a refresh got that is meant to succeed."""
    return _PROGRESS.get(status or "", Progress.UNDERWAY)


class Which(Params):
    """One refresh, or whichever runs."""

    refresh_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None


class EndsRefresh(Action):
    """What rolling back and cancelling share. `states` are those that it leads to, last the end."""

    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    allowed_during_changes: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    params: ClassVar[type[Params]] = Which
    states: ClassVar[tuple[str, str]]

    def observe(self, call: Call) -> Observation:
        found = read_group(call.aws, call.target)
        running = active(call.aws, found.name)
        wanted = call.params.get("refresh_id")
        if running is None or wanted not in {None, running}:
            raise NotActionableError(f"no such instance refresh of {found.name} runs")
        already = statuses(call.aws, found.name)[running] in self.states
        return Observation(already=already, before={"refresh_id": running})

    def read_back(self, call: Call) -> CallResult:
        done = self._status(call) in self.states
        return CallResult(Outcome.CHANGED if done else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        underway, done = self.states
        states = {underway: Progress.UNDERWAY, done: Progress.DONE}
        return states.get(self._status(call) or "", Progress.FAILED)

    def _status(self, call: Call) -> str | None:
        return statuses(call.aws, call.target).get(call.before["refresh_id"])
