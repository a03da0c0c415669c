"""States, reasons, times and numbers as the pages show them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup, escape

from actions.catalog.registry import find_action
from actions.reasons import Reason
from receiver.runs.model import State
from receiver.runs.queries.unremedied import LEFT_ALONE
from receiver.runtime.rfc3339 import DAY_S

_MINUTE, _HOUR = 60.0, 3600.0
_DRIFTING, _DRIFTED = 0.1, 0.25


class Label(NamedTuple):
    """A label; `tone` is a class of the stylesheet: wait, busy, good, bad or quiet."""

    text: str
    tone: str


_STATES = {
    State.RECEIVED: Label("received", "busy"),
    State.DECIDING: Label("deciding", "busy"),
    State.AWAITING_APPROVAL: Label("awaiting approval", "wait"),
    State.ACTING: Label("acting", "busy"),
    State.VERIFYING: Label("verifying", "busy"),
    State.ROLLING_BACK: Label("rolling back", "busy"),
    State.SUCCEEDED: Label("recovered", "good"),
    State.FAILED: Label("failed", "bad"),
    State.ROLLED_BACK: Label("rolled back", "bad"),
    State.REFUSED: Label("refused", "quiet"),
    State.OBSERVED: Label("observed", "quiet"),
    State.EXPIRED: Label("expired", "bad"),
    State.CANCELLED: Label("cancelled", "quiet"),
    State.RESOLVED: Label("resolved on its own", "good"),
}
_LEFT_ALONE = {
    Reason.VERDICT_REFUTED: Label("left alone: not an incident", "quiet"),
    Reason.OUTSIDE_WINDOW: Label("left alone: outside its window", "quiet"),
}
_VERDICTS = {
    "confirmed": Label("confirmed (an incident)", "bad"),
    "refuted": Label("refuted (not an incident)", "good"),
    "undecided": Label("undecided (the metrics are inconclusive)", "wait"),
}
_OUTCOMES = {
    "changed": Label("done", "good"),
    "noop": Label("nothing to do", "quiet"),
    "failed": Label("failed", "bad"),
    "unknown": Label("unknown", "wait"),
}


def state_label(name: str) -> Label:
    return _STATES[State(name)]


def run_label(state: str, refusal: str | None, *, acknowledged: bool = False) -> Label:
    """The label of a run: whether it was rightly left alone, or refused, which a person must see.

    A person who is on it makes a refusal quiet.
    """
    if state != State.REFUSED:
        return state_label(state)
    if refusal in LEFT_ALONE:
        return _LEFT_ALONE[Reason(str(refusal))]
    return Label("refused", "quiet" if acknowledged else "wait")


def verdict_label(name: str) -> Label:
    return _VERDICTS.get(name, Label(name, "quiet"))


def outcome_label(name: str | None) -> Label:
    return _OUTCOMES.get(name or "", Label("under way", "busy"))


def recipient_of(action: str) -> str:
    """Who is sent the step: AWS, or the people and servers that messages go to."""
    return "AWS" if find_action(action).permissions else "its recipients"


def drift_label(index: float) -> Label:
    """The label of a population stability index, by the limits of `models.inference.drift`."""
    if index < _DRIFTING:
        return Label("stable", "good")
    return Label("drifting", "wait") if index < _DRIFTED else Label("drifted", "bad")


def words(name: str) -> str:
    """The name of a reason, action, guard or value, with spaces for underscores.

    A value of seconds loses the `_s` of its name, because its text has the unit.
    """
    return name.removesuffix("_s").replace("_", " ")


def run_title(run: Mapping[str, Any]) -> str:
    """The name of the run's alert."""
    if run["asked"]:
        return "manual run"
    return str(run["alert"]["labels"].get("alertname") or "an alert without a name")


def storm_query(run: Mapping[str, Any], filters: Mapping[str, str]) -> str:
    """The address of the list of runs that have this run's alert, group and state in common."""
    narrowed = {
        **{name: value for name, value in filters.items() if name != "cursor"},
        "alertname": str(run["alert"]["labels"].get("alertname", "")),
        "group" if run["group"] else "target": run["group"] or run["target"],
        "state": run["state"],
    }
    return urlencode({name: value for name, value in narrowed.items() if value})


def record_summary(detail: Mapping[str, Any]) -> str:
    """A summary of an audit record: its comment, else its outcome, else its action."""
    if detail.get("comment"):
        return f"“{detail['comment']}”"
    if detail.get("action"):
        step = f"{words(detail['action'])} on {detail.get('target')}"
        return f"{step}: {detail['outcome']}" if detail.get("outcome") else step
    plan = detail.get("plan") or {}
    step = f"{words(plan['action'])} on {plan.get('target')}" if plan.get("action") else ""
    labels = detail.get("labels") or {}
    summary = detail.get("outcome") or step or labels.get("alertname") or ""
    return f"{words(detail['refusal'])}: {summary}" if detail.get("refusal") else str(summary)


def value_text(name: str, value: object) -> str:
    """A step's parameter or a value from AWS; a number named `*_at` is a time, `*_s` seconds."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and name.endswith("_at"):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, float | int) and name.endswith("_s"):
        return f"{value:g} s"
    return json.dumps(value)


def code_spans(text: str) -> Markup:
    """The text of a playbook, escaped, with what stands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


def utc(time: str | None) -> str:
    """The time as `2026-11-24 10:02:11`."""
    if time is None:
        return ""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def ago(time: str | None, now: float) -> str:
    """The age as `3 min ago`, or `in 3 min`."""
    if time is None:
        return ""
    age_s = now - datetime.fromisoformat(time).timestamp()
    if abs(age_s) < 1:
        return "now"
    return f"{duration(age_s)} ago" if age_s > 0 else f"in {duration(-age_s)}"


def duration(seconds: float) -> str:
    """A duration as `42 s`, `3 min`, `5 h` or `2 d`."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * DAY_S:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / DAY_S:.0f} d"
