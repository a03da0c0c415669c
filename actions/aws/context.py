"""Changes that others make to a target or its group, read from AWS."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from actions.aws.inventory import Group

# States of an instance refresh that has ended.
_ENDED = frozenset({"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"})
# The user agent of this service's own calls contains it.
_OWN_CALL = re.compile(r"\bsmartcloudops-run/")
# CloudTrail is read this far back for changes by others.
_RECENT_S = 900.0


def active_refreshes(aws: Aws, group: str) -> Sequence[str]:
    """A sentence for each unfinished instance refresh. Raises botocore's errors."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group, MaxRecords=10)
    return [
        f"an instance refresh of {group} is {refresh.get('Status')}"
        for refresh in answer.get("InstanceRefreshes", [])
        if refresh.get("Status") not in _ENDED
    ]


def ongoing_changes(target: str, group: Group) -> Sequence[str]:
    """A sentence for each sign in the group's data that others are changing it or its member."""
    signs = []
    if group.tags.get("smartcloudops:deploying", "false") != "false":
        signs.append(f"{group.name} has the tag smartcloudops:deploying")
    if target in group.members:
        lifecycle = group.members[target].lifecycle
        if lifecycle != "InService":
            signs.append(f"{target} is {lifecycle} in {group.name}")
    return signs


def recent_changes(aws: Aws, name: str, now: float) -> Sequence[str]:
    """A sentence for each change that others made to this resource in the last 15 minutes.

    From CloudTrail; calls by this service and by AWS itself are left out. CloudTrail shows events
    minutes late, so an empty list proves nothing. Raises botocore's errors.
    """
    answer = aws.cloudtrail.lookup_events(
        LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": name}],
        StartTime=datetime.fromtimestamp(now - _RECENT_S, UTC),
        MaxResults=50,
    )
    changes = []
    for event in answer.get("Events", []):
        detail = json.loads(event.get("CloudTrailEvent") or "{}")
        by_aws = detail.get("userIdentity", {}).get("type") == "AWSService"
        own = _OWN_CALL.search(detail.get("userAgent", ""))
        if event.get("ReadOnly") == "false" and not by_aws and not own:
            who = event.get("Username") or "somebody"
            changes.append(f"{who} called {event.get('EventName')} on {name}")
    return changes


def is_termination_protected(aws: Aws, instance_id: str) -> bool:
    """Whether the instance is protected from termination. Raises botocore's errors."""
    try:
        answer = aws.ec2.describe_instance_attribute(
            InstanceId=instance_id, Attribute="disableApiTermination"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidInstanceID.NotFound":
            return False
        raise
    return bool(answer.get("DisableApiTermination", {}).get("Value", False))
