"""A run's story in order of time: every decision, step and word of a person.

The run itself keeps its last decision alone; the audit has all of them. What the audit no longer
has, because it was pruned, is told from the run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from actions.audit import log
from receiver.runs.model import State
from receiver.runtime.rfc3339 import rfc3339

# A run has a few records for each of at most ten steps.
_RECORDS_MOST = 500
# The states whose records are told: the others only say what the steps say.
_ENDED = frozenset(f"run_{state}" for state in State if state.ended)
_PEOPLE = {
    "run_approved_by_a_person": ("Approved", "good"),
    "run_denied_by_a_person": ("Denied", "bad"),
    "run_cancelled_by_a_person": ("Cancelled", "quiet"),
    "run_rolled_back_by_a_person": ("Rollback ordered", "bad"),
    "run_acknowledged": ("Acknowledged", "quiet"),
    "run_marked_by_a_person": ("Feedback", "quiet"),
}
_HEADINGS = {
    State.AWAITING_APPROVAL: "Decided: ask a person",
    State.ACTING: "Decided: act",
    State.OBSERVED: "Decided: only observe",
    State.REFUSED: "Decided: do nothing",
    State.RESOLVED: "Decided: do nothing",
    State.FAILED: "Decided: no further step",
    State.DECIDING: "Decided: wait and decide again",
}


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event; `kind` chooses how the page shows `data`, `tone` is a class of the stylesheet."""

    kind: str
    at: str
    title: str = ""
    tone: str = "quiet"
    data: Mapping[str, Any] = field(default_factory=dict)


def tell(connection: Connection, run: Mapping[str, Any]) -> list[Event]:
    """The events of a run as the API shows it, the earliest first."""
    records = log.records(connection, run_id=run["id"], limit=_RECORDS_MOST)[::-1]
    told = [*_of_records(records, run), *_of_steps(run)]
    if not any(event.kind == "decision" for event in told) and run["decided_at"]:
        told.append(_decision(run["decided_at"], State(run["state"]), run))
    if run["ended_at"] and not any(event.kind == "end" for event in told):
        told.append(Event(kind="end", at=run["ended_at"], data=run))
    # The sort is stable: what has the same time stays in the order of the records.
    told.sort(key=lambda event: datetime.fromisoformat(event.at))
    return [Event(kind="start", at=run["received_at"], data=run), *told]


def _of_records(records: Sequence[Any], run: Mapping[str, Any]) -> Iterator[Event]:
    told: Any = None
    since: float | None = None
    for record in records:
        name, at = record["event"], rfc3339(record["at"]) or ""
        detail = json.loads(record["detail"])
        if name in _PEOPLE:
            title, tone = _PEOPLE[name]
            if "right" in detail:
                title += f": {'right' if detail['right'] else 'wrong'} decision"
            by = {"by": record["actor"], "comment": detail.get("comment")}
            yield Event(kind="person", at=at, title=title, tone=tone, data=by)
        if name.startswith("run_") and detail.get("gates"):
            reasons = (detail.get("verdict") or {}).get("contributions")
            same, told = bool(reasons) and reasons == told, reasons or told
            yield _decision(at, State(detail["state"]), detail | {"same_verdict": same})
        before, since = since, detail.get("recovered_since") if name == "run_verifying" else since
        if since is not None and before != since:
            yield Event(kind="recovering", at=at, title="The target looks recovered", tone="good")
        if name == "recovery_did_not_last":
            yield Event(kind="recovering", at=at, title="The recovery did not last", tone="bad")
        if name in _ENDED:
            yield Event(kind="end", at=at, data={**run, **_end_of(detail)})


def _end_of(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: detail.get(name) for name in ("state", "outcome", "refusal")}


def _decision(at: str, state: State, detail: Mapping[str, Any]) -> Event:
    stopped = [gate for gate in detail["gates"] if not gate["passed"]]
    plan = detail.get("plan") or {}
    title = _HEADINGS.get(state, "Decided")
    if state in {State.AWAITING_APPROVAL, State.ACTING} and plan:
        title = f"{title}, {plan['action'].replace('_', ' ')} on {plan['target']}"
    tone = {State.ACTING: "busy", State.AWAITING_APPROVAL: "wait"}.get(state, "quiet")
    data = {
        "verdict": detail.get("verdict"),
        # Its reasons are told once.
        "same_verdict": detail.get("same_verdict", False),
        "gates": detail["gates"],
        "stopped": stopped[0] if stopped else None,
        "plan": plan or None,
        "state": str(state),
    }
    return Event(kind="decision", at=at, title=title, tone=tone, data=data)


def _of_steps(run: Mapping[str, Any]) -> Iterator[Event]:
    for step in run["steps"]:
        yield Event(kind="step", at=step["started_at"], data=step)
    for capture in run["captures"]:
        yield Event(kind="capture", at=capture["at"], data=capture)
