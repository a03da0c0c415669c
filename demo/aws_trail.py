"""CloudTrail's LookupEvents, answered from the emulated AWS's own call log."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demo.aws_gate import Call

_READS = ("Describe", "Get", "List", "Lookup")


def lookup_events(
    asked: Mapping[str, Any], calls: Iterable["Call"], since: float
) -> dict[str, Any]:
    """Events about one resource, latest first; what was before `since` is left out."""
    wanted = {one["AttributeKey"]: one["AttributeValue"] for one in asked["LookupAttributes"]}
    name = wanted.get("ResourceName")
    start, end = float(asked.get("StartTime", 0)), float(asked.get("EndTime", float("inf")))
    found = [
        _event(call)
        for call in calls
        if max(since, start) <= call.time <= end
        and (name is None or name in _texts(call.parameters))
    ]
    return {"Events": found[::-1][: int(asked.get("MaxResults", 50))]}


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
                "userIdentity": {"type": "IAMUser"},
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
