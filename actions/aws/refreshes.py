"""Instance refreshes of a group, as AWS lists them: the newest first, so that one page is enough.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html
"""

from collections.abc import Sequence

from actions.aws.client_set import Aws

# States of a refresh that has ended; every other one is active.
ENDED = frozenset({"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"})


def active_refreshes(aws: Aws, group: str) -> Sequence[str]:
    """A sentence for each unfinished instance refresh. Raises botocore's errors."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group, MaxRecords=10)
    return [
        f"an instance refresh of {group} is {refresh.get('Status')}"
        for refresh in answer["InstanceRefreshes"]
        if refresh.get("Status") not in ENDED
    ]
