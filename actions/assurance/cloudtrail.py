"""Calls to AWS as recorded by CloudTrail, its files, or the log of an emulated AWS.

CloudTrail's LookupEvents shows an event within about 15 minutes of its call; its files arrive in
about 5.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
"""

import gzip
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actions.aws.client_set import Aws
from actions.aws.trail import Caller, Span, TooManyEventsError, caller_of, event_pages

if TYPE_CHECKING:
    from types_boto3_cloudtrail.type_defs import EventTypeDef

# CloudTrail shows an event at most this long after its call.
DELIVERY_DELAY_S = 900.0
# LookupEvents returns the events of the last 90 days.
EVENTS_KEPT_S = 90 * 86_400.0
_PAGES_MAX = 20
_RUN = re.compile(r"\bsmartcloudops-run/([0-9A-Za-z]+)")
_REFUSED, _BROKEN = 400, 500
_NOT_A_CALL = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class TrailError(Exception):
    """A file of events cannot be read; the text has the file and the line."""


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """One call to AWS; `names` are all strings in its `parameters`.

    `who` is the caller's identity, None where the source lacks it; `person` is whether a person
    made the call. `late`: the source may not show recent calls yet. `refused`: AWS did nothing.
    """

    at: float
    operation: str
    run_id: str
    names: frozenset[str]
    who: str | None
    refused: bool
    late: bool
    person: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


def look_up_calls(
    aws: Aws, since: float, until: float, wait: Callable[[float], object] = time.sleep
) -> Iterator[ApiCall]:
    """Calls that changed something in this region, from CloudTrail.

    Raises TrailError and botocore's errors.
    """
    for page in event_pages(aws, Span(since, until), wait=wait):
        yield from map(_of_event, page)


def look_up_calls_on(
    aws: Aws,
    names: Sequence[str],
    span: Span,
    wait: Callable[[float], object] = time.sleep,
    *,
    programs: Sequence[str] = (),
) -> Sequence[ApiCall]:
    """Calls that changed something and name one of the `names`, oldest first.

    In a region with more than 20 pages of changes CloudTrail is asked for each name: it then tells
    the calls that list the name among their resources. `programs` is as in `caller_of`.
    Raises TrailError, TooManyEventsError where one name has too many, and botocore's errors.
    """
    try:
        pages = list(event_pages(aws, span, pages_max=_PAGES_MAX, wait=wait))
    except TooManyEventsError:
        pages = [
            page
            for name in names
            for page in event_pages(
                aws,
                span,
                attribute=("ResourceName", name),
                pages_max=_PAGES_MAX,
                wait=wait,
            )
        ]
    wanted = frozenset(names)
    events = {event.get("EventId", str(event)): event for page in pages for event in page}
    changes = (event for event in events.values() if event.get("ReadOnly") != "true")
    calls = (_of_event(event, programs) for event in changes)
    return sorted((call for call in calls if call.names & wanted), key=lambda call: call.at)


def read_file(path: Path) -> Iterator[ApiCall]:
    """Calls from a CloudTrail file (gzip too), an answer of LookupEvents, or JSON Lines.

    A line is a record of CloudTrail or of the emulated AWS's log. Raises TrailError.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "the file is damaged, or not text"
        raise TrailError(f"{path}: {why}") from None
    for number, value in _values(path, text):
        try:
            for record in _records(value):
                yield _of_emulator(record) if "operation" in record else _of_cloudtrail(record)
        except _NOT_A_CALL:
            raise TrailError(f"{path}:{number}: this is not a call") from None


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        yield 1, json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            raise TrailError(f"{path}:{number}: this is not JSON") from None


def _records(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and "Records" in value:
        yield from value["Records"]
    elif isinstance(value, dict) and "Events" in value:
        yield from (json.loads(event["CloudTrailEvent"]) for event in value["Events"])
    else:
        yield value


def _of_event(event: "EventTypeDef", programs: Sequence[str] = ()) -> ApiCall:
    try:
        return _of_cloudtrail(json.loads(event["CloudTrailEvent"]), programs)
    except _NOT_A_CALL:
        raise TrailError("CloudTrail answered with an event that is not a call") from None


def _of_cloudtrail(event: Mapping[str, Any], programs: Sequence[str] = ()) -> ApiCall:
    identity = event.get("userIdentity") or {}
    issuer = (identity.get("sessionContext") or {}).get("sessionIssuer") or {}
    run = _RUN.search(event.get("userAgent") or "")
    return ApiCall(
        at=datetime.fromisoformat(event["eventTime"]).timestamp(),
        operation=event["eventName"],
        run_id=run.group(1) if run else "",
        names=frozenset(_texts(event.get("requestParameters"))),
        who=issuer.get("arn") or identity.get("arn") or identity.get("invokedBy") or "",
        refused=bool(event.get("errorCode")),
        late=True,
        person=caller_of(event, programs) is Caller.PERSON,
        parameters=event.get("requestParameters") or {},
    )


def _of_emulator(call: Mapping[str, Any]) -> ApiCall:
    return ApiCall(
        at=float(call["time"]),
        operation=str(call["operation"]),
        run_id=str(call.get("session") or ""),
        names=frozenset(_texts(call.get("parameters"))),
        who=None,
        refused=_REFUSED <= int(call.get("status") or 0) < _BROKEN,
        late=False,
    )


def _texts(value: object) -> Iterator[str]:
    """Every string in a call's parameters."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)
