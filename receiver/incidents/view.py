"""What people are told of an incident: what, where, why, what was tried, what is next, until when.

No text of an alert is in it, whose sender could otherwise write in our name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select

from actions.canonical_json import canonical
from actions.execution import ledger
from actions.step_key import StepKind
from receiver.db.tables import runs
from receiver.incidents import records
from receiver.incidents.records import Incident
from receiver.runs import store
from receiver.runs.model import IN_FLIGHT, REMEDIED, Run, State
from receiver.runs.question import question_of
from receiver.runtime.redaction import plain
from receiver.runtime.rfc3339 import rfc3339

# Of a storm these are read; the others are counted.
_RUNS_MOST = 20
_STATES_MOST = 1000
_NAME_MOST = 100


class Status(StrEnum):
    """How an incident stands."""

    WAITS = "waits_for_an_answer"
    UNDER_WAY = "under_way"
    NEEDS_PERSON = "needs_a_person"
    ACKNOWLEDGED = "acknowledged"
    OVER = "over"


@dataclass(frozen=True, kw_only=True)
class IncidentView:
    """What is shown; `run` and `plan` are what an answer is for."""

    id: str
    status: Status
    title: str
    where: str
    why: str
    tried: Sequence[str]
    next: str
    until: str | None
    runs: int
    run: str
    plan: str | None
    url: str | None
    opened_at: str

    @property
    def needs_person(self) -> bool:
        """Whether somebody should look at it now."""
        return self.status in {Status.WAITS, Status.NEEDS_PERSON}

    @property
    def over(self) -> bool:
        return self.status is Status.OVER

    @property
    def digest(self) -> str:
        return sha256(canonical(self.as_json()).encode()).hexdigest()

    def as_json(self) -> Mapping[str, Any]:
        return asdict(self) | {"status": str(self.status), "tried": list(self.tried)}

    def lines(self) -> Sequence[str]:
        """The text of a message."""
        until = f" (until {self.until})" if self.until else ""
        tried = f"Tried: {', '.join(self.tried)}" if self.tried else "Tried: nothing yet"
        return [self.why, tried, f"Next: {self.next}{until}", *filter(None, [self.url])]


def read_view(connection: Connection, incident: Incident, public_url: str | None) -> IncidentView:
    """The incident as it stands."""
    ids = records.run_ids(connection, incident.id)
    found = [run for run in (store.get(connection, each) for each in ids[:_RUNS_MOST]) if run]
    steps = ledger.intents_by_run(connection, [run.id for run in found])
    waiting = next((run for run in found if run.state is State.AWAITING_APPROVAL), None)
    newest = waiting or next((run for run in found if run.state in IN_FLIGHT), None)
    newest = newest or (found[0] if found else None)
    status = _status(connection, incident, ids)
    name = incident.alertname
    known = name.isascii() and name.isidentifier() and len(name) <= _NAME_MOST
    place = f" of {incident.account}/{incident.region}" if incident.account else ""
    where = f"{plain(incident.about) or 'no target'}{place}"
    tried = [
        f"{step.action} on {step.target}: {step.result or step.outcome or step.stage}"
        for run in reversed(found)
        for step in steps.get(run.id, ())
        if step.step.kind is not StepKind.CAPTURE
    ]
    return IncidentView(
        id=incident.id,
        status=status,
        title=f"{_TITLES[status]}: {name if known else 'an alert'} on {where}",
        where=where,
        why=_why(newest, len(ids)),
        tried=tried[-_RUNS_MOST:],
        next=_next(status, newest),
        until=_until(newest) if status is not Status.OVER else None,
        runs=len(ids),
        run=newest.id if newest else "",
        plan=waiting.plan.digest if waiting and waiting.plan else None,
        url=f"{public_url.rstrip('/')}/runs/{newest.id}" if public_url and newest else None,
        opened_at=rfc3339(incident.opened_at) or "",
    )


_TITLES = {
    Status.WAITS: "Approval needed",
    Status.UNDER_WAY: "Under way",
    Status.NEEDS_PERSON: "A person is needed",
    Status.ACKNOWLEDGED: "Acknowledged",
    Status.OVER: "Over",
}


def _status(connection: Connection, incident: Incident, ids: Sequence[str]) -> Status:
    query = select(runs.c.state, runs.c.acknowledged.is_not(None).label("acknowledged"))
    rows = connection.execute(query.where(runs.c.id.in_(ids[:_STATES_MOST]))).all()
    states = {State(row.state) for row in rows}
    without_remedy = [row for row in rows if row.state not in REMEDIED]
    if incident.closed_at is not None or (rows and not without_remedy):
        return Status.OVER
    if State.AWAITING_APPROVAL in states:
        return Status.WAITS
    if states & IN_FLIGHT:
        return Status.UNDER_WAY
    if rows and all(row.acknowledged for row in without_remedy):
        return Status.ACKNOWLEDGED
    return Status.NEEDS_PERSON


def _why(run: Run | None, count: int) -> str:
    if run is None:
        return "it fires, and nobody is on it"
    several = f"{count} runs, the newest: " if count > 1 else ""
    verdict = f"the re-check says {run.verdict.answer}" if run.verdict else "not decided yet"
    outcome = f"; {plain(run.outcome)}" if run.outcome else ""
    return f"{several}{run.playbook or 'no playbook'}, {verdict}{outcome}"


def _next(status: Status, run: Run | None) -> str:
    match status:
        case Status.WAITS:
            asked = (question_of(run) if run else None) or "an answer"
            given = ", ".join(plain(each.by) for each in run.approvals) if run else ""
            return f"{asked} Approved so far by {given}." if given else asked
        case Status.UNDER_WAY:
            return f"the run is {str(run.state).replace('_', ' ')}" if run else "a run is under way"
        case Status.NEEDS_PERSON:
            return "nothing by itself: a person is needed"
        case Status.ACKNOWLEDGED:
            by = run.acknowledged.by if run and run.acknowledged else "a person"
            return f"{plain(by)} is on it"
        case Status.OVER:
            return "nothing"


def _until(run: Run | None) -> str | None:
    if run is None:
        return None
    at = run.verify_until if run.state is State.VERIFYING else None
    if run.state is State.AWAITING_APPROVAL:
        at = run.next_act_at
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"
