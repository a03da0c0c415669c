"""Instance refreshes of a group, and the base of cancelling or rolling one back.

States: https://docs.aws.amazon.com/autoscaling/ec2/userguide/check-status-instance-refresh.html
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import StringConstraints

from actions.aws.client_set import Aws
from actions.aws.group_activities import ENDED
from actions.aws.groups import read_group
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
)

if TYPE_CHECKING:
    from types_boto3_autoscaling.type_defs import RefreshPreferencesTypeDef

# A refresh that makes no progress fails after an hour; one of a large group takes several.
TAKES_UP_TO_S = 6 * 3_600.0
UNFINISHED = frozenset({"Pending", "InProgress", "Baking"})
# What a cancelled refresh has replaced is not rolled back.
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CancelInstanceRefresh.html
_PROGRESS = dict.fromkeys(ENDED, Progress.FAILED) | {
    "Successful": Progress.DONE,
    "Cancelled": Progress.UNKNOWN,
}


def read_statuses(aws: Aws, name: str) -> Mapping[str, str]:
    """Status by id, latest refresh first."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=name)
    return {
        refresh.get("InstanceRefreshId", ""): refresh.get("Status", "")
        for refresh in answer["InstanceRefreshes"]
    }


def healthy_percentages(
    wanted: int, maintenance: Sequence[int] | None
) -> "RefreshPreferencesTypeDef":
    """How much AWS keeps serving, for a refresh that shall keep `wanted` percent at least.

    The group's `maintenance` policy may keep more, and lets the group grow meanwhile. The two
    percentages are at most 100 apart, or AWS refuses the refresh.
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html
    """
    if maintenance is None:
        return {"MinHealthyPercentage": wanted}
    least = max(wanted, maintenance[0])
    largest = min(maintenance[1], least + 100)
    return {"MinHealthyPercentage": least, "MaxHealthyPercentage": largest}


def find_active(aws: Aws, name: str) -> str | None:
    """The id of the unfinished refresh, or None: a group has at most one."""
    statuses = read_statuses(aws, name)
    return next((id_ for id_, status in statuses.items() if status not in ENDED), None)


def progress_of(status: str | None) -> Progress:
    """The progress of a refresh that should succeed."""
    return _PROGRESS.get(status or "", Progress.UNDERWAY)


class EndRefreshParams(Params):
    """The refresh to end; without an id, the unfinished refresh."""

    refresh_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None


class EndsRefresh(Action):
    """Ends a refresh; `states` has its status on the way to the end, and its final status."""

    target = TargetKind.GROUP
    impact = Impact.DISRUPTIVE
    allowed_during_changes = True
    idempotent = False
    takes_up_to_s = TAKES_UP_TO_S
    params = EndRefreshParams
    states: ClassVar[tuple[str, str]]

    def observe(self, call: Call) -> Observation:
        group = read_group(call.aws, call.target)
        running = find_active(call.aws, group.name)
        wanted = call.params.get("refresh_id")
        if running is None or wanted not in {None, running}:
            raise NotActionableError(
                f"{group.name} has no unfinished instance refresh {wanted or 'of any id'}"
            )
        already = read_statuses(call.aws, group.name)[running] in self.states
        return Observation(already=already, before={"refresh_id": running})

    def read_back(self, call: Call) -> CallResult:
        reached = self._status(call) in self.states
        return CallResult(Outcome.CHANGED if reached else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        status = self._status(call)
        # Right after the call AWS may still show the status before it.
        if status not in ENDED:
            return Progress.UNDERWAY
        return Progress.DONE if status == self.states[1] else Progress.FAILED

    def _status(self, call: Call) -> str | None:
        return read_statuses(call.aws, call.target).get(call.before["refresh_id"])
