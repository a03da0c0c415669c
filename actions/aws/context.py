"""Changes that others make to a target or its group, as CloudTrail and EC2 tell them."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from actions.aws.host_status import IMPAIRED, HostStatus
from actions.aws.instances import Instance, read_spot_codes
from actions.aws.target_errors import NotActionableError

if TYPE_CHECKING:
    from types_boto3_cloudtrail.literals import LookupAttributeKeyType
    from types_boto3_cloudtrail.type_defs import EventTypeDef, LookupEventsRequestTypeDef

# The user agent of this service's own calls contains it.
_OWN_CALL = re.compile(r"\bsmartcloudops-run/")
_SERVICE_LINKED = re.compile(r":assumed-role/AWSServiceRoleFor\w+/")
# CloudTrail is read this far back for changes by others.
_RECENT_S = 900.0
# EC2 has had time to recover an instance; if it still fails, it is to be stopped and started.
_RECOVERY_S = 600.0
# What the request of a Spot Instance says that EC2 interrupts.
_INTERRUPTS = frozenset({"marked-for-stop", "marked-for-termination"})
# Pages of 50 events that a decision reads: CloudTrail answers twice a second.
_PAGES_MAX = 4


def recovery(
    instance: Instance | None, host: HostStatus | None, now: float
) -> Sequence[str] | None:
    """A sentence if EC2 may be moving an instance outside groups to another host; None: unknown.

    EC2 tries it on a failed system check, unless it is switched off, and never with a group's
    member; nothing but a notification says that it tries, or has given up.
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-configuration-recovery.html
    """
    if instance is None or host is None:
        return None
    failed_s = now - (host.impaired_since or now)
    if host.system == IMPAIRED and instance.auto_recovery == "default" and failed_s < _RECOVERY_S:
        return [
            f"EC2 may be recovering {instance.id}: its system check failed {failed_s:.0f} s ago"
        ]
    return []


def interruption(aws: Aws, instance: Instance) -> Sequence[str]:
    """A sentence if EC2 has announced that it takes the Spot Instance within two minutes.

    A rebalance recommendation comes before, and is told to the instance and EventBridge alone.
    Raises botocore's errors.
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """
    notices = sorted(read_spot_codes(aws, instance.id) & _INTERRUPTS)
    return [f"EC2 interrupts the Spot Instance {instance.id}: {notice}" for notice in notices]


@dataclass(frozen=True, kw_only=True)
class ForeignChanges:
    """What others changed in one region of an account in the last 15 minutes.

    `silent`: CloudTrail shows no change there at all, by nobody.
    """

    events: "Sequence[EventTypeDef]"
    silent: bool = False

    def of(self, name: str) -> Sequence[str]:
        """A sentence for each change to this instance or group."""
        return [_describe(event, name) for event in self.events if _names(event, name)]


def foreign_changes(aws: Aws, now: float) -> ForeignChanges | None:
    """All changes of others in the region; None beyond 200 events. Raises botocore's errors.

    One look serves every target there, because CloudTrail answers twice a second in each region of
    an account, to all callers together. Calls by this service and by AWS itself are left out.
    CloudTrail shows events minutes late, so an empty list proves nothing.
    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
    """
    found: list[EventTypeDef] = []
    silent = True
    for events in _pages(aws, "ReadOnly", "false", now):
        if events is None:
            return None
        silent = silent and not events
        found += filter(_is_foreign, events)
    return ForeignChanges(events=found, silent=silent)


def changes_of(aws: Aws, name: str, now: float) -> Sequence[str] | None:
    """A sentence for each change that others made to this resource; None beyond 200 events.

    For a region with too many changes to look through. Reads of the resource may hide its changes.
    Raises botocore's errors.
    """
    for events in _pages(aws, "ResourceName", name, now):
        if events is None:
            return None
        if changes := [_describe(event, name) for event in events if _is_foreign(event)]:
            return changes
    return []


def changes_between(aws: Aws, since: float, until: float) -> "Iterator[EventTypeDef]":
    """All changes of others in the region in this time, latest first. Raises botocore's errors."""
    query: LookupEventsRequestTypeDef = {
        "LookupAttributes": [{"AttributeKey": "ReadOnly", "AttributeValue": "false"}],
        "StartTime": datetime.fromtimestamp(since, UTC),
        "EndTime": datetime.fromtimestamp(until, UTC),
        "MaxResults": 50,
    }
    while True:
        answer = aws.cloudtrail.lookup_events(**query)
        yield from filter(_is_foreign, answer["Events"])
        if not answer.get("NextToken"):
            return
        query["NextToken"] = answer["NextToken"]


def _pages(
    aws: Aws, attribute: "LookupAttributeKeyType", value: str, now: float
) -> "Iterator[Sequence[EventTypeDef] | None]":
    """The events that have this attribute, latest first; None in place of a fifth page."""
    query: LookupEventsRequestTypeDef = {
        "LookupAttributes": [{"AttributeKey": attribute, "AttributeValue": value}],
        "StartTime": datetime.fromtimestamp(now - _RECENT_S, UTC),
        "MaxResults": 50,
    }
    for _ in range(_PAGES_MAX):
        answer = aws.cloudtrail.lookup_events(**query)
        yield answer["Events"]
        if not answer.get("NextToken"):
            return
        query["NextToken"] = answer["NextToken"]
    yield None


def _names(event: "EventTypeDef", name: str) -> bool:
    """Whether the event may be about the resource; one without a detail may be.

    A detail has it as a whole text, or at the end of an ARN: "web" is not "web-2".
    """
    detail = event.get("CloudTrailEvent")
    listed = (resource.get("ResourceName") for resource in event.get("Resources", []))
    text = json.dumps(name)[1:]
    return not detail or f'"{text}' in detail or f"/{text}" in detail or name in listed


def _is_foreign(event: "EventTypeDef") -> bool:
    """Whether others changed something; an event that does not say is counted.

    An AWS service acts for itself under a service-linked role; one that is invoked by a person has
    the person's identity. A call with an error code, such as that of a dry run, changed nothing.
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
    """
    try:
        detail = json.loads(event.get("CloudTrailEvent") or "{}")
        identity = detail.get("userIdentity", {})
        linked = _SERVICE_LINKED.search(identity.get("arn", "")) is not None
        by_aws = identity.get("type") == "AWSService" or linked
        own = _OWN_CALL.search(detail.get("userAgent", ""))
    except (ValueError, TypeError, AttributeError):
        return True
    changed = event.get("ReadOnly") != "true" and not detail.get("errorCode")
    return changed and not by_aws and not own


def _describe(event: "EventTypeDef", name: str) -> str:
    return f"{event.get('Username') or 'somebody'} called {event.get('EventName')} on {name}"


def is_termination_protected(aws: Aws, instance_id: str) -> bool | None:
    """Whether the instance is protected from termination; None where AWS does not say.

    Raises NotActionableError where it does not exist, and botocore's errors.
    """
    try:
        answer = aws.ec2.describe_instance_attribute(
            InstanceId=instance_id, Attribute="disableApiTermination"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidInstanceID.NotFound":
            raise NotActionableError(f"{instance_id} does not exist") from None
        raise
    return answer.get("DisableApiTermination", {}).get("Value")
