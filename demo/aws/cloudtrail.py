"""CloudTrail's LookupEvents, answered from the emulated AWS's own call log."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demo.aws.gate import Call

_WHO = "arn:aws:iam::123456789012:user/emulated"
_READS = ("Describe", "Get", "List", "Lookup")


def lookup_events(
    asked: Mapping[str, Any], calls: Iterable["Call"], since: float
) -> dict[str, Any]:
    """Events about one resource, or of one kind, latest first; none from before `since`."""
    wanted = {one["AttributeKey"]: one["AttributeValue"] for one in asked["LookupAttributes"]}
    name, reads = wanted.get("ResourceName"), wanted.get("ReadOnly")
    start, end = float(asked.get("StartTime", 0)), float(asked.get("EndTime", float("inf")))
    found = [
        _event(call)
        for call in calls
        if max(since, start) <= call.time <= end
        and (name is None or name in _texts(call.parameters))
    ]
    found = [one for one in found[::-1] if reads in (None, one["ReadOnly"])]
    begun, most = int(asked.get("NextToken") or 0), int(asked.get("MaxResults", 50))
    more = {"NextToken": str(begun + most)} if len(found) > begun + most else {}
    return {"Events": found[begun : begun + most], **more}


def _event(call: "Call") -> dict[str, Any]:
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
    """Every text in a call's parameters."""
    if isinstance(parameters, Mapping):
        return {text for one in parameters.values() for text in _texts(one)}
    if isinstance(parameters, list):
        return {text for one in parameters for text in _texts(one)}
    return {str(parameters)}
