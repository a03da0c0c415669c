"""CloudTrail's LookupEvents, answered from the emulated AWS's own call log."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from demo.aws.calls import Call

_READS = ("Describe", "Get", "List", "Lookup")


def lookup_events(
    parameters: Mapping[str, Any], calls: Iterable[Call], since: float
) -> dict[str, Any]:
    """Events about one resource, or of one kind, latest first, from `since` on."""
    wanted = {
        attribute["AttributeKey"]: attribute["AttributeValue"]
        for attribute in parameters["LookupAttributes"]
    }
    name, reads = wanted.get("ResourceName"), wanted.get("ReadOnly")
    start = float(parameters.get("StartTime", 0))
    end = float(parameters.get("EndTime", float("inf")))
    events = [
        _event(call)
        for call in calls
        if max(since, start) <= call.time <= end
        and (name is None or name in _texts(call.parameters))
    ]
    events = [event for event in events[::-1] if reads in (None, event["ReadOnly"])]
    first, most = int(parameters.get("NextToken") or 0), int(parameters.get("MaxResults", 50))
    more = {"NextToken": str(first + most)} if len(events) > first + most else {}
    return {"Events": events[first : first + most], **more}


def _event(call: Call) -> dict[str, Any]:
    agent = f"Boto3 smartcloudops-run/{call.session}" if call.session else "aws-cli"
    return {
        "EventId": f"{call.time}",
        "EventName": call.operation,
        "EventTime": call.time,
        "EventSource": f"{call.service}.amazonaws.com",
        "ReadOnly": str(call.operation.startswith(_READS)).lower(),
        "Username": "emulated",
        "CloudTrailEvent": json.dumps(
            {
                "eventName": call.operation,
                "eventTime": datetime.fromtimestamp(call.time, UTC).isoformat(),
                "userAgent": agent,
                "userIdentity": {
                    "type": "IAMUser",
                    "arn": "arn:aws:iam::123456789012:user/emulated",
                },
                "requestParameters": call.parameters,
            }
        ),
    }


def _texts(parameters: object) -> set[str]:
    """Every string in a call's parameters."""
    if isinstance(parameters, Mapping):
        return {text for value in parameters.values() for text in _texts(value)}
    if isinstance(parameters, list):
        return {text for value in parameters for text in _texts(value)}
    return {str(parameters)}
