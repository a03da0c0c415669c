"""Instance refreshes of a group, as AWS lists them.

States: https://docs.aws.amazon.com/autoscaling/ec2/userguide/check-status-instance-refresh.html
"""

from collections.abc import Mapping

from actions.action import Progress
from actions.aws import Aws

GOING_ON = frozenset({"Pending", "InProgress", "Baking"})
ACTIVE = GOING_ON | {"Cancelling", "RollbackInProgress"}
CANCELLING = frozenset({"Cancelling", "Cancelled"})
ROLLING_BACK = frozenset({"RollbackInProgress", "RollbackSuccessful"})
_PROGRESS = {
    "Successful": Progress.DONE,
    "Failed": Progress.FAILED,
    "Cancelled": Progress.FAILED,
    "RollbackFailed": Progress.FAILED,
    "RollbackSuccessful": Progress.FAILED,
}


def statuses(aws: Aws, group: str) -> Mapping[str, str]:
    """Status by id, the latest first."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group)
    return {
        one.get("InstanceRefreshId", ""): one.get("Status", "")
        for one in answer.get("InstanceRefreshes", [])
    }


def active(aws: Aws, group: str) -> str | None:
    """The id of the one that runs: a group has at most one."""
    found = statuses(aws, group)
    return next((one for one, status in found.items() if status in ACTIVE), None)


def progress(status: str | None) -> Progress:
    """How far a refresh got that is meant to succeed."""
    return _PROGRESS.get(status or "", Progress.UNDERWAY)
