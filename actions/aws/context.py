"""What stands around a target, live from AWS: who serves beside it, and who else works on it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from actions.aws import inventory
from actions.aws.clients import Aws
from actions.aws.inventory import Group
from actions.execution.disruption_budget import Scope, share

# Of an instance refresh that has ended.
_REFRESHED = frozenset(
    {"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful"}
)
# Groups set these aside by themselves at times; a person who works on a group suspends the rest.
_OURS = re.compile(r"\bsmartcloudops-run/")
_WATCHED_S = 900.0
_GONE = ("Terminating", "Terminated", "Detach")
_UNREGISTERED = frozenset({"unused", "draining"})


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much of a group may be out at once.

    `percent` of its instances, and never less than one; `min_healthy` instances must stay, by
    default the group's own minimum.
    """

    percent: float = 10.0
    min_healthy: int | None = None


def scopes(aws: Aws, target: str, group: str, bounds: Bounds) -> Sequence[Scope]:
    """Those that the instance is counted in; none for an instance without a group.

    Raises NotActionableError or botocore's errors: what is not known is not guessed.
    """
    if not group:
        return ()
    found = inventory.group(aws, group)
    health = {arn: targets(aws, arn) for arn in found.target_groups}
    return scopes_among(target, found, bounds, health)


def scopes_among(
    target: str,
    group: Group,
    bounds: Bounds,
    health: Mapping[str, tuple[frozenset[str], frozenset[str]]],
) -> Sequence[Scope]:
    """The scopes of a member; `health` is who is registered, and who healthy, by target group."""
    members = {one.id: one for one in group.members.values() if not one.lifecycle.startswith(_GONE)}
    out = frozenset(one.id for one in members.values() if not one.serves)
    floor = group.minimum if bounds.min_healthy is None else bounds.min_healthy
    found = [_scope(f"group {group.name}", frozenset(members), out, bounds, floor)]
    if target in members:
        zone = members[target].az
        there = frozenset(one.id for one in members.values() if one.az == zone)
        name = f"zone {zone} of {group.name}"
        found.append(_scope(name, there, out & there, bounds, min(1, len(there) - 1)))
    found += [
        _scope(f"target group {arn}", known, known - healthy, bounds, min(1, len(known) - 1))
        for arn, (known, healthy) in health.items()
        if target in known
    ]
    return found


def _scope(
    name: str, members: frozenset[str], out: frozenset[str], bounds: Bounds, floor: int
) -> Scope:
    limit = share(bounds.percent, len(members))
    return Scope(name=name, members=members, out=out, limit=limit, floor=floor)


def targets(aws: Aws, arn: str) -> tuple[frozenset[str], frozenset[str]]:
    """Registered instances of a target group, and the healthy ones among them."""
    answer = aws.elbv2.describe_target_health(TargetGroupArn=arn)
    states = {
        one.get("Target", {}).get("Id", ""): one.get("TargetHealth", {}).get("State", "")
        for one in answer.get("TargetHealthDescriptions", [])
    }
    known = frozenset(target for target, state in states.items() if state not in _UNREGISTERED)
    return known, frozenset(target for target in known if states[target] == "healthy")


def refreshing(aws: Aws, group: str) -> Sequence[str]:
    """Instance refreshes of the group that are under way, in words. Raises botocore's errors."""
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=group, MaxRecords=10)
    return [
        f"an instance refresh of {group} is {refresh.get('Status')}"
        for refresh in answer.get("InstanceRefreshes", [])
        if refresh.get("Status") not in _REFRESHED
    ]


def unsettled(target: str, group: Group) -> Sequence[str]:
    """What the group itself shows of others who work on it or on its member, in words."""
    found = []
    if group.tags.get("smartcloudops:deploying", "false") != "false":
        found.append(f"{group.name} has the tag smartcloudops:deploying")
    if target in group.members:
        lifecycle = group.members[target].lifecycle
        if lifecycle != "InService":
            found.append(f"{target} is {lifecycle} in {group.name}")
    return found


def events(aws: Aws, name: str, now: float) -> Sequence[str]:
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


def protected(aws: Aws, instance_id: str) -> bool:
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
