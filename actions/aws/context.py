"""What stands around a target, live from AWS: who serves beside it, and who else works on it."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from actions.aws.clients import Aws
from actions.aws.inventory import Group

# Of an instance refresh that has ended.
_REFRESHED = frozenset(
    {"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"}
)
# Groups set these aside by themselves at times; a person who works on a group suspends the rest.
_OURS = re.compile(r"\bsmartcloudops-run/")
_WATCHED_S = 900.0
_UNREGISTERED = frozenset({"unused", "draining"})


def read_target_health(aws: Aws, arn: str) -> tuple[frozenset[str], frozenset[str]]:
    """Registered instances of a target group, and the healthy ones among them."""
    answer = aws.elbv2.describe_target_health(TargetGroupArn=arn)
    states = {
        one.get("Target", {}).get("Id", ""): one.get("TargetHealth", {}).get("State", "")
        for one in answer.get("TargetHealthDescriptions", [])
    }
    known = frozenset(target for target, state in states.items() if state not in _UNREGISTERED)
    return known, frozenset(target for target in known if states[target] == "healthy")


def active_refreshes(aws: Aws, group: str) -> Sequence[str]:
    """Instance refreshes of the group that are under way, in words. Raises botocore's errors."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group, MaxRecords=10)
    return [
        f"an instance refresh of {group} is {refresh.get('Status')}"
        for refresh in answer.get("InstanceRefreshes", [])
        if refresh.get("Status") not in _REFRESHED
    ]


def ongoing_changes(target: str, group: Group) -> Sequence[str]:
    """What the group itself shows of others who work on it or on its member, in words."""
    found = []
    if group.tags.get("smartcloudops:deploying", "false") != "false":
        found.append(f"{group.name} has the tag smartcloudops:deploying")
    if target in group.members:
        lifecycle = group.members[target].lifecycle
        if lifecycle != "InService":
            found.append(f"{target} is {lifecycle} in {group.name}")
    return found


def recent_changes(aws: Aws, name: str, now: float) -> Sequence[str]:
    """Changes that people and programs made to it lately, ourselves and AWS left out, in words.

    By CloudTrail, whose events come minutes late: it is no proof of absence. Raises botocore's
    errors.
    """
    answer = aws.cloudtrail.lookup_events(
        LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": name}],
        StartTime=datetime.fromtimestamp(now - _WATCHED_S, UTC),
        MaxResults=50,
    )
    found = []
    for event in answer.get("Events", []):
        detail = json.loads(event.get("CloudTrailEvent") or "{}")
        by_aws = detail.get("userIdentity", {}).get("type") == "AWSService"
        ours = _OURS.search(detail.get("userAgent", ""))
        if event.get("ReadOnly") == "false" and not by_aws and not ours:
            who = event.get("Username") or "somebody"
            found.append(f"{who} called {event.get('EventName')} on {name}")
    return found


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
