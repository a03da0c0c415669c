"""What people and deployments changed in AWS around the incidents, as CloudTrail tells it.

CloudTrail keeps 90 days, and answers twice a second:
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from actions.aws.client_set import Aws
from actions.aws.context import is_foreign
from actions.aws.trail import Caller, Span, caller_of, event_pages
from actions.tables import audit
from backtest.incidents import Incident
from receiver.db.database import Database

# A decision looks this far back, and people act so long after an alert.
_BEFORE_S, _AFTER_S = 900.0, 900.0
# The calls that deploy, by any caller, and what `POST /api/v1/changes` announced.
ANNOUNCED = "change_announced"
_DEPLOY_CALLS = frozenset(
    {
        ANNOUNCED,
        "CreateDeployment",
        "CreateLaunchTemplateVersion",
        "ModifyLaunchTemplate",
        "StartInstanceRefresh",
        "UpdateAutoScalingGroup",
    }
)
_TELLS = ("CloudTrailEvent", "EventName", "ReadOnly", "Resources", "Username")


def read_changes(aws: Aws, incidents: Iterable[Incident]) -> Sequence[Mapping[str, Any]]:
    """The changes of others around the incidents, latest first, with the time under `at`.

    Raises botocore's errors.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for since, until in _spans(incidents):
        events = (event for page in event_pages(aws, Span(since, until)) for event in page)
        for event in filter(is_foreign, events):
            told: dict[str, Any] = {k: v for k, v in event.items() if k in _TELLS}
            told["at"] = event["EventTime"].timestamp()
            found[event.get("EventId", str(told))] = told
    return sorted(found.values(), key=lambda event: -float(event["at"]))


def read_announced(database: Database, since: float, until: float) -> Sequence[Mapping[str, Any]]:
    """The changes of groups that were announced to the service, in the form of `read_changes`."""
    with database.read() as connection:
        rows = connection.execute(
            select(audit.c.at, audit.c.actor, audit.c.detail).where(
                audit.c.event == ANNOUNCED, audit.c.at.between(since, until)
            )
        ).all()
    return [
        {
            "at": told["at"],
            "EventName": ANNOUNCED,
            "ReadOnly": "true",
            "Username": actor,
            "Resources": [{"ResourceName": told["group"]}],
            "CloudTrailEvent": json.dumps({"what": told["what"], "group": told["group"]}),
        }
        for _, actor, detail in rows
        for told in (json.loads(detail),)
    ]


def people_on(
    changes: Sequence[Mapping[str, Any]], names: Iterable[str], since: float, until: float
) -> Sequence[str]:
    """What people called on one of the names in this time, oldest first."""
    wanted = [name for name in names if name]
    return [
        f"{event.get('Username') or 'somebody'} called {event.get('EventName')}"
        for event in reversed(changes)
        if since <= event["at"] <= until + _AFTER_S
        and event.get("EventName") not in _DEPLOY_CALLS
        and not _is_program(event)
        and any(json.dumps(name)[1:-1] in str(event) for name in wanted)
    ]


def deployed_before(
    changes: Sequence[Mapping[str, Any]], names: Iterable[str], at: float
) -> float | None:
    """Seconds since the newest deploy of one of the names, as far as the changes tell."""
    wanted = [name for name in names if name]
    before = [
        at - event["at"]
        for event in changes
        if event["at"] <= at
        and (event.get("EventName") in _DEPLOY_CALLS or _is_program(event))
        and any(json.dumps(name)[1:-1] in str(event) for name in wanted)
    ]
    return min(before, default=None)


def _is_program(event: Mapping[str, Any]) -> bool:
    """What a program changes was no person's answer to an alert, but a deploy."""
    try:
        return caller_of(json.loads(event.get("CloudTrailEvent") or "{}")) is Caller.PROGRAM
    except (ValueError, TypeError, AttributeError):
        return False


def _spans(incidents: Iterable[Incident]) -> Sequence[tuple[float, float]]:
    """The times around the incidents, those that overlap as one."""
    merged: list[tuple[float, float]] = []
    for one in sorted(incidents, key=lambda incident: incident.starts_at):
        since = one.starts_at - _BEFORE_S
        until = (one.ended_at or one.starts_at) + _AFTER_S
        if merged and since <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], until)
        else:
            merged.append((since, until))
    return merged
