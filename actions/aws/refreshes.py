"""Instance refreshes of a group, as AWS lists them: the newest first, so that one page is enough.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

from actions.aws.client_set import Aws

# States of a refresh that has ended; every other one is active.
ENDED = frozenset({"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"})


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
