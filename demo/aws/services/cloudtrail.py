"""CloudTrail's LookupEvents, answered from the emulated AWS's own call log."""

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from demo.aws.calls import Call
from demo.aws.core import moment
from demo.aws.world import ACCOUNT

_TIMES = ("StartTime", "EndTime")
# A call that an injected fault delays is logged this much after its time, at most.
_DELAYED_S = 600.0
_USER = f"arn:aws:iam::{ACCOUNT}:user"


def lookup_events(
    request: Mapping[str, Any],
    calls: Sequence[Call],
    since: float,
    others: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    """Events about one resource, or of one kind, latest first; none from before `since`.

    `others` are events from outside of this log, by the name of their resource, or by "false" where
    they changed something else. Those of a resource are among all changes, too.
    """
    wanted = {
        attribute["AttributeKey"]: attribute["AttributeValue"]
        for attribute in request["LookupAttributes"]
    }
    name, reads = wanted.get("ResourceName"), wanted.get("ReadOnly")
    operation = wanted.get("EventName")
    start, end = (request[key].timestamp() if key in request else None for key in _TIMES)
    first_at = max(since, start or 0)
    latest_first = takewhile(lambda call: call.time >= first_at - _DELAYED_S, reversed(calls))
    events = [
        _event(call)
        for call in latest_first
        if first_at <= call.time <= (end or call.time)
        and reads in (None, _read_only(call))
        and operation in (None, call.operation)
        and (name is None or name in _texts(call.parameters))
    ]
    named = others.get(request["LookupAttributes"][0]["AttributeValue"], [])
    changed = [
        {"Resources": [{"ResourceName": resource}], **event}
        for resource, told in others.items()
        for event in told
        if name is None and resource != reads and event.get("ReadOnly") != "true"
    ]
    events = [*named, *changed, *events]
    first, most = int(request.get("NextToken") or 0), int(request.get("MaxResults", 50))
    more = {"NextToken": str(first + most)} if len(events) > first + most else {}
    return {"Events": events[first : first + most], **more}


def _read_only(call: Call) -> str:
    return str(call.reads).lower()


def _event(call: Call) -> dict[str, Any]:
    # Each access key is a user's own.
    user = call.key or "emulated"
    agent = f"Boto3 smartcloudops-run/{call.session}" if call.session else "aws-cli"
    return {
        "EventId": f"{call.time}",
        "EventName": call.operation,
        "EventTime": moment(call.time),
        "EventSource": f"{call.service}.amazonaws.com",
        "ReadOnly": _read_only(call),
        "Username": user,
        "CloudTrailEvent": json.dumps(
            {
                "eventName": call.operation,
                "eventTime": moment(call.time).isoformat(),
                "userAgent": agent,
                "userIdentity": {"type": "IAMUser", "arn": f"{_USER}/{user}"},
                "requestParameters": {
                    key[:1].lower() + key[1:]: value for key, value in call.parameters.items()
                },
            },
            default=str,
        ),
    }


def _texts(parameters: object) -> set[str]:
    """Every text in a call's parameters."""
    if isinstance(parameters, Mapping):
        return {text for value in parameters.values() for text in _texts(value)}
    if isinstance(parameters, list):
        return {text for value in parameters for text in _texts(value)}
    return {str(parameters)}
