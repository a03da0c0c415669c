"""The alerts inside a message of Amazon SNS: of Alertmanager by AMP, and alarms of CloudWatch.

Sources: Amazon Managed Service for Prometheus User Guide, Configure alert manager to send messages
to Amazon SNS as JSON; Amazon CloudWatch User Guide, Alarm events and notification of users.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import structlog
from pydantic import ValidationError

from receiver.webhook.payload import Alert, Envelope, WrongShapeError, identity, parse_alert

_log = structlog.get_logger()
# AMP's template writes times as Go prints them: 2026-11-23 06:39:31.435 +0000 UTC.
_GO_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) ([+-]\d\d)(\d\d) \S+(?: m=\S+)?"
)
_STATES: Mapping[str, str] = {"ALARM": "firing", "OK": "resolved"}
_UNKNOWN = "INSUFFICIENT_DATA"
ALARM_ARN = "alarm_arn"


def parse_alerts(text: str, received_at: float) -> tuple[list[Alert], int]:
    """The alerts of a message, and the number of those that become no run.

    Raises WrongShapeError.
    """
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise WrongShapeError(
            "the message is not JSON: give AMP's alert manager the JSON template of its guide"
        )
    if "NewStateValue" in value:
        alert = _alarm(value, received_at)
        return ([], 1) if alert is None else ([alert], 0)
    try:
        envelope = Envelope.model_validate(value)
    except ValidationError:
        raise WrongShapeError(
            "the message is neither of Alertmanager nor a CloudWatch alarm"
        ) from None
    parsed = [parse_alert(_with_times(raw), received_at) for raw in envelope.alerts]
    alerts = [alert for alert in parsed if alert is not None]
    return alerts, len(parsed) - len(alerts)


def _with_times(raw: object) -> object:
    if not isinstance(raw, dict):
        return raw
    times = {
        name: _GO_TIME.sub(r"\1T\2\3:\4", value)
        for name in ("startsAt", "endsAt")
        if isinstance(value := raw.get(name), str)
    }
    return raw | times


def _alarm(value: Mapping[str, Any], received_at: float) -> Alert | None:
    """An alarm whose ARN is its identity, whatever else of it is changed.

    None without data: that is neither an incident nor its end.
    """
    arn, state = value.get("AlarmArn"), value["NewStateValue"]
    if not isinstance(arn, str) or not isinstance(value.get("AlarmName"), str):
        raise WrongShapeError("the CloudWatch alarm has no AlarmArn and AlarmName")
    if state == _UNKNOWN:
        _log.info("alarm_without_data", alarm=arn)
        return None
    if state not in _STATES:
        raise WrongShapeError("the CloudWatch alarm is in no state that CloudWatch documents")
    at = value.get("StateChangeTime")
    time = {"startsAt": at} if state == "ALARM" else {"endsAt": at}
    texts = {"summary": value.get("AlarmDescription"), "description": value.get("NewStateReason")}
    raw = {
        "status": _STATES[state],
        "labels": {"alertname": value["AlarmName"], ALARM_ARN: arn, **_labels(arn, value)},
        "annotations": {name: text for name, text in texts.items() if isinstance(text, str)},
        **{name: text for name, text in time.items() if isinstance(text, str)},
    }
    alert = parse_alert(raw, received_at)
    if alert is None:
        raise LookupError("unreachable: the alarm has labels")
    return replace(alert, key=identity({ALARM_ARN: arn}))


def _labels(arn: str, value: Mapping[str, Any]) -> Mapping[str, str]:
    """Where the alarm is, and what its metrics are about, if all of them agree."""
    place = dict(zip(("region", "account"), arn.split(":")[3:5], strict=False))
    trigger = value.get("Trigger")
    found: dict[str, set[str]] = {"instance_id": set(), "asg": set()}
    names = {"InstanceId": "instance_id", "AutoScalingGroupName": "asg"}
    for name, text in _dimensions(trigger if isinstance(trigger, dict) else {}):
        if name in names:
            found[names[name]].add(text)
    return place | {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


def _dimensions(trigger: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values of the dimensions of the alarm's metric, or of those of its expression."""
    metrics = trigger.get("Metrics")
    stats = [
        item["MetricStat"].get("Metric")
        for item in (metrics if isinstance(metrics, list) else [])
        if isinstance(item, dict) and isinstance(item.get("MetricStat"), dict)
    ]
    for metric in (trigger, *stats):
        dimensions = metric.get("Dimensions") if isinstance(metric, dict) else None
        for pair in dimensions if isinstance(dimensions, list) else []:
            if isinstance(pair, dict) and isinstance(pair.get("name"), str):
                yield pair["name"], str(pair.get("value", ""))
