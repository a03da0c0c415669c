"""Changes that others make to a target or its group, as CloudTrail and EC2 tell them."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from actions.aws.client_set import Aws
from actions.aws.host_status import IMPAIRED, HostStatus
from actions.aws.instances import Instance, read_spot_codes
from actions.aws.target_errors import NotActionableError
from actions.aws.trail import Caller, Span, TooManyEventsError, caller_of, event_pages

if TYPE_CHECKING:
    from types_boto3_cloudtrail.type_defs import EventTypeDef

_T = TypeVar("_T")
# CloudTrail is read this far back for changes by others.
_RECENT_S = 900.0
# EC2 has had time to recover an instance; if it still fails, it is to be stopped and started.
_RECOVERY_S = 600.0
# What the request of a Spot Instance says that EC2 interrupts. One that is terminated has its last
# status "immediately", and runs on for two minutes.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html
_INTERRUPTS = re.compile(r"marked-for-|instance-(stopped|terminated)-(?!by-user)")
# The comment of this service's own commands: a run's id, and its step.
_OWN_COMMAND = re.compile(r"[0-9A-Z]{26}/")
_DENIED = re.compile(r"AccessDenied")
_UNMANAGED = re.compile(r"AccessDenied|InvalidInstanceId$")
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

    A rebalance recommendation comes before, and is told to the instance and EventBridge alone. None
    is known where the role may not ask. Raises botocore's errors.
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    """
    try:
        codes = read_spot_codes(aws, instance.id)
    except aws.ec2.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "UnauthorizedOperation":
            raise
        return []
    notices = sorted(filter(_INTERRUPTS.match, codes))
    return [f"EC2 interrupts the Spot Instance {instance.id}: {notice}" for notice in notices]


def commands_on(aws: Aws, instance_id: str) -> Sequence[str]:
    """A sentence for each command of others that runs on the instance.

    CloudTrail names no instance where a command was sent to a tag, as maintenance windows do.
    Raises botocore's errors.
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ListCommandInvocations.html
    """
    pages = aws.ssm.get_paginator("list_command_invocations").paginate(
        InstanceId=instance_id, Filters=[{"key": "Status", "value": "InProgress"}]
    )
    return [
        f"{command.get('DocumentName')} of somebody else runs on {instance_id}"
        for page in _while_managed(aws, pages)
        for command in page["CommandInvocations"]
        if not _OWN_COMMAND.match(command.get("Comment", ""))
    ]


def sessions_on(aws: Aws, instance_id: str) -> Sequence[str]:
    """A sentence for each open session on the instance.

    CloudTrail tells of a session only that it began. Raises botocore's errors.
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeSessions.html
    """
    pages = aws.ssm.get_paginator("describe_sessions").paginate(
        State="Active", Filters=[{"key": "Target", "value": instance_id}]
    )
    return [
        f"{session.get('Owner') or 'somebody'} has a session on {instance_id}"
        for page in _while_managed(aws, pages)
        for session in page["Sessions"]
    ]


def _while_managed(aws: Aws, pages: Iterable[_T]) -> Iterator[_T]:
    """No pages where the role may not use Systems Manager, or the host is no managed node of it."""
    try:
        yield from pages
    except aws.ssm.exceptions.ClientError as error:
        if not _UNMANAGED.match(error.response["Error"]["Code"]):
            raise


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
    try:
        for events in event_pages(aws, Span(now - _RECENT_S), pages_max=_PAGES_MAX):
            silent = silent and not events
            found += filter(is_foreign, events)
    except TooManyEventsError:
        return None
    return ForeignChanges(events=found, silent=silent)


def changes_of(aws: Aws, name: str, now: float) -> Sequence[str] | None:
    """A sentence for each change that others made to this resource; None beyond 200 events.

    For a region with too many changes to look through. Reads of the resource may hide its changes.
    Raises botocore's errors.
    """
    pages = event_pages(
        aws, Span(now - _RECENT_S), attribute=("ResourceName", name), pages_max=_PAGES_MAX
    )
    try:
        for events in pages:
            if changes := [_describe(event, name) for event in events if is_foreign(event)]:
                return changes
    except TooManyEventsError:
        return None
    return []


def suspended_by_others(
    aws: Aws, group: str, processes: AbstractSet[str], since: float
) -> AbstractSet[str]:
    """Those of the processes that somebody else suspended as well since then (epoch seconds).

    AWS keeps one suspension of a process for all who ask for it; only CloudTrail has each call,
    minutes late. None are known where the role may not read it. Raises botocore's errors.
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SuspendProcesses.html
    """
    found: set[str] = set()
    try:
        for events in event_pages(aws, Span(since), attribute=("EventName", "SuspendProcesses")):
            for event in filter(is_foreign, events):
                asked = json.loads(event.get("CloudTrailEvent") or "{}").get("requestParameters")
                if asked and asked.get("autoScalingGroupName") == group:
                    # Without a list it suspends all.
                    found.update(asked.get("scalingProcesses") or processes)
    except aws.cloudtrail.exceptions.ClientError as error:
        if not _DENIED.match(error.response["Error"]["Code"]):
            raise
    return processes & found


def _names(event: "EventTypeDef", name: str) -> bool:
    """Whether the event may be about the resource; one without a detail may be.

    A detail has it as a whole text, or at the end of an ARN: "web" is not "web-2".
    """
    detail = event.get("CloudTrailEvent")
    listed = (resource.get("ResourceName") for resource in event.get("Resources", []))
    text = json.dumps(name)[1:]
    return not detail or f'"{text}' in detail or f"/{text}" in detail or name in listed


def is_foreign(event: "EventTypeDef") -> bool:
    """Whether others changed something; an event that does not say is counted.

    A call with an error code, such as that of a dry run, changed nothing.
    """
    try:
        detail = json.loads(event.get("CloudTrailEvent") or "{}")
        caller = caller_of(detail)
    except (ValueError, TypeError, AttributeError):
        return True
    changed = event.get("ReadOnly") != "true" and not detail.get("errorCode")
    return changed and caller not in {Caller.AWS, Caller.OWN}


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
    except aws.ec2.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "InvalidInstanceID.NotFound":
            raise NotActionableError(f"{instance_id} does not exist") from None
        raise
    return answer.get("DisableApiTermination", {}).get("Value")
