"""How the pages put things: states, reasons, times and figures, as a person reads them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from receiver.runs.model import State
from receiver.runtime.rfc3339 import DAY_S

_MINUTE, _HOUR = 60.0, 3600.0
_DRIFTING, _DRIFTED = 0.1, 0.25


class Label(NamedTuple):
    """`tone` is a class of the stylesheet: wait, busy, good, bad, quiet."""

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
    State.RESOLVED: Label("resolved by itself", "good"),
}
_ANSWERS = {
    "confirmed": Label("confirmed: it is an incident", "bad"),
    "refuted": Label("refuted: it only looks like one", "good"),
    "undecided": Label("undecided: it cannot be told", "wait"),
}
_OUTCOMES = {
    "changed": Label("done", "good"),
    "noop": Label("nothing to do", "quiet"),
    "failed": Label("failed", "bad"),
    "unknown": Label("not known", "wait"),
}


def state(name: str) -> Label:
    return _STATES[State(name)]


def answer(name: str) -> Label:
    return _ANSWERS.get(name, Label(name, "quiet"))


def outcome(name: str | None) -> Label:
    return _OUTCOMES.get(name or "", Label("under way", "busy"))


def drift(index: float) -> Label:
    """A population stability index; the limits are those that `models.inference.drift` names."""
    if index < _DRIFTING:
        return Label("as it was", "good")
    return Label("drifting", "wait") if index < _DRIFTED else Label("drifted far", "bad")


def reason(name: str) -> str:
    """A reason, an action or a gate, in words."""
    return name.replace("_", " ")


def alert(run: Mapping[str, Any]) -> str:
    """What a run is called: its alert, or that a person asked for it."""
    if run["asked"]:
        return "asked for by hand"
    return str(run["alert"]["labels"].get("alertname") or "an alert without a name")


def gist(detail: Mapping[str, Any]) -> str:
    """What matters most of an audit record: what was said, or came out, or was done to what."""
    if detail.get("comment"):
        return f"“{detail['comment']}”"
    if detail.get("action"):
        said = f"{reason(detail['action'])} on {detail.get('target')}"
        return f"{said}: {detail['outcome']}" if detail.get("outcome") else said
    plan = detail.get("plan") or {}
    said = f"{reason(plan['action'])} on {plan.get('target')}" if plan.get("action") else ""
    labels = detail.get("labels") or {}
    found = detail.get("outcome") or said or labels.get("alertname") or ""
    return f"{reason(detail['refusal'])}: {found}" if detail.get("refusal") else str(found)


def value(name: str, found: object) -> str:
    """A parameter, or what was found at AWS; moments as such."""
    if isinstance(found, str):
        return found
    if isinstance(found, float) and name.endswith("_at"):
        return f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return json.dumps(found)


def utc(moment: str | None) -> str:
    """`2026-11-24 10:02:11`."""
    if moment is None:
        return ""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def ago(moment: str | None, now: float) -> str:
    """`3 min ago`, or `in 3 min`."""
    if moment is None:
        return ""
    apart = now - datetime.fromisoformat(moment).timestamp()
    if abs(apart) < 1:
        return "now"
    return f"{span(apart)} ago" if apart > 0 else f"in {span(-apart)}"


def span(seconds: float) -> str:
    """`42 s`, `3 min`, `5 h`, `2 d`."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * DAY_S:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / DAY_S:.0f} d"
