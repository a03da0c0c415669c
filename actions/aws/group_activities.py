"""What a group is doing: scaling activities, lifecycle hooks, instance refreshes.

AWS lists activities and refreshes newest first, so that one page is enough.
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeScalingActivities.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeLifecycleHooks.html
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from actions.aws.client_set import Aws

if TYPE_CHECKING:
    from types_boto3_autoscaling.type_defs import ActivityTypeDef

# A group that cannot launch tries again and again: its last launch is among these.
_ACTIVITIES_MAX = 20
# States of a refresh that has ended; every other one is active.
ENDED = frozenset({"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"})


class LaunchFailure(StrEnum):
    """Why a group could not launch, by the words of its activity.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-capacity.html
    """

    CAPACITY = "capacity"  # EC2 has no more of this instance type in the zone
    QUOTA = "quota"  # the account may run no more instances or vCPUs
    TEMPLATE = "template"  # the launch template names what is not there, or is invalid


# The first that fits: a message on a quota speaks of vCPU capacity, too.
_WORDS = {
    LaunchFailure.QUOTA: re.compile(r"already running|limit|quota|exceeded", re.IGNORECASE),
    LaunchFailure.CAPACITY: re.compile(r"capacity", re.IGNORECASE),
}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The last launch of a group; `failure` is None where it did not fail, or is under way."""

    message: str = ""
    failure: LaunchFailure | None = None


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A lifecycle hook: it holds each member at the transition, for `timeout_s` at a time."""

    name: str
    launching: bool
    timeout_s: float


def read_last_launch(aws: Aws, group: str) -> Launch | None:
    """The group's last launch that is not cancelled, or None. Raises botocore's errors."""
    answer = aws.autoscaling.describe_scaling_activities(
        AutoScalingGroupName=group, MaxRecords=_ACTIVITIES_MAX
    )
    launches = (activity for activity in answer["Activities"] if _is_launch(activity))
    return next((_launch(activity) for activity in launches), None)


def read_hooks(aws: Aws, group: str) -> Sequence[Hook]:
    """The group's lifecycle hooks. Raises botocore's errors."""
    answer = aws.autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=group)
    return [
        Hook(
            name=hook.get("LifecycleHookName", ""),
            launching=hook.get("LifecycleTransition", "").endswith("LAUNCHING"),
            timeout_s=float(hook.get("HeartbeatTimeout", 3_600)),
        )
        for hook in answer.get("LifecycleHooks", [])
    ]


@dataclass(frozen=True, kw_only=True)
class ActiveRefresh:
    """An unfinished refresh; `reversible`: it named the configuration that it brings.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html
    """

    group: str
    status: str
    reversible: bool

    def __str__(self) -> str:
        return f"an instance refresh of {self.group} is {self.status}"


def active_refreshes(aws: Aws, group: str) -> Sequence[ActiveRefresh]:
    """The unfinished instance refreshes. Raises botocore's errors."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group, MaxRecords=10)
    return [
        ActiveRefresh(
            group=group,
            status=refresh.get("Status", ""),
            reversible=bool(refresh.get("DesiredConfiguration")),
        )
        for refresh in answer["InstanceRefreshes"]
        if refresh.get("Status") not in ENDED
    ]


def _is_launch(activity: "ActivityTypeDef") -> bool:
    launches = activity.get("Description", "").startswith("Launching")
    return launches and activity["StatusCode"] != "Cancelled"


def _launch(activity: "ActivityTypeDef") -> Launch:
    if activity["StatusCode"] != "Failed":
        return Launch()
    message = activity.get("StatusMessage", "")
    causes = (cause for cause, words in _WORDS.items() if words.search(message))
    return Launch(message=message, failure=next(causes, LaunchFailure.TEMPLATE))
