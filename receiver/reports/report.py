"""What happened in a time, from the records: for people, and for whoever audits them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from actions.audit.chain import Verification
from actions.execution import ledger
from actions.tables import audit
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.prometheus_answers import PrometheusError
from receiver.reports import figures
from receiver.reports.figures import Figure, Incident
from receiver.runs import store
from receiver.runs.model import State
from receiver.runs.store import RunFilter
from receiver.runtime.rfc3339 import rfc3339

_PAGE = 500
_APPROVED, _DENIED = "run_approved_by_a_person", "run_denied_by_a_person"
_STARTED, _ROLLED_BACK = "run_started_by_a_person", "run_rolled_back_by_a_person"
_CONTROL = ("override_added", "override_ended", "paused", "resumed", "cooldown_ended")
_UNASKED = "it was not asked for"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a report is about: epoch seconds, and what only a person can say.

    `availability` is asked of Prometheus before: a snapshot of the records must not wait for it.
    """

    since: float
    until: float
    manual_minutes: float | None = None
    price: float | None = None
    availability: Figure
    reconciliation: Mapping[str, Any] | None = None
    coverage: Mapping[str, Any] | None = None
    verification: Verification | None = None
    why_unverified: str = field(default=_UNASKED)


def report(connection: Connection, asked: Asked) -> dict[str, Any]:
    """The report as JSON values. One snapshot of the records, so that all of it fits together."""
    incidents = list(_incidents(connection, asked))
    said = _said(connection, asked)
    return {
        "period": {"since": rfc3339(asked.since), "until": rfc3339(asked.until)},
        "figures": {name: asdict(one) for name, one in _figures(incidents, asked).items()},
        "incidents": {
            "total": len(incidents),
            "by_state": _counted(str(one.run.state) for one in incidents),
            "by_alert": _counted(one.run.labels.get("alertname", "") for one in incidents),
            "by_day": _counted((rfc3339(one.run.received_at) or "")[:10] for one in incidents),
            "items": [_incident(one) for one in incidents],
        },
        "actions": _actions(incidents),
        "approvals": _approvals(incidents, said),
        "refusals": _counted(one.run.refusal for one in incidents if one.run.refusal),
        "rollbacks": _rollbacks(incidents, said),
        "overrides": [_told(one) for one in said if one["event"] in _CONTROL],
        "audit": _audit(asked),
        "reconciliation": asked.reconciliation,
        "reconciliation_reason": None if asked.reconciliation else _UNASKED,
    }


def ask(prometheus: Prometheus, at: float, expr: str) -> float | None:
    """One number, None where there is none. Raises ValueError saying why there is no answer."""
    try:
        found = prometheus.instant_query(expr, at=at)
    except PrometheusError as error:
        raise ValueError(f"Prometheus: {error}") from None
    return found[0].value if len(found) == 1 else None


def _incidents(connection: Connection, asked: Asked) -> Iterator[Incident]:
    """Runs that came in meanwhile, newest first; dry runs are none."""
    before = None
    while True:
        page = store.list_runs(connection, RunFilter(since=asked.since), before=before, limit=_PAGE)
        steps = ledger.intents_by_run(connection, [one.id for one in page])
        for run in page:
            dry = run.asked is not None and run.asked["dry_run"]
            if run.received_at < asked.until and not dry:
                yield Incident(run=run, steps=steps.get(run.id, ()))
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _said(connection: Connection, asked: Asked) -> Sequence[Mapping[str, Any]]:
    """Audit records of what people did, oldest first."""
    wanted = (_APPROVED, _DENIED, _STARTED, _ROLLED_BACK, *_CONTROL)
    query = select(audit).where(audit.c.at >= asked.since, audit.c.event.in_(wanted))
    rows = connection.execute(query.order_by(audit.c.seq)).mappings()
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]


def _figures(incidents: Sequence[Incident], asked: Asked) -> Mapping[str, Figure]:
    return {
        "time_to_action": figures.time_to_action(incidents),
        "correct_actions": figures.correct_actions(incidents),
        "availability": asked.availability,
        "coverage": _coverage(asked.coverage),
        "time_to_recovery": figures.time_to_recovery(incidents, asked.manual_minutes),
        "interventions_avoided": figures.interventions_avoided(incidents),
        "instance_hours_saved": figures.hours_saved(incidents, asked.until, asked.price),
    }


def _coverage(found: Mapping[str, Any] | None) -> Figure:
    return Figure(
        title="Coverage of critical services",
        value=found["covered_share"] if found else None,
        unit="share",
        definition="Critical services (groups tagged as critical; all, where none is) that are "
        "measured, with a rule whose alerts a playbook matches, in a mode that acts, and the "
        "opt-in tag on the group and all its instances; as it is when the report is made.",
        reason=None if found and found["covered_share"] is not None else _why_uncovered(found),
        more={"services": found["services"] if found else []},
    )


def _why_uncovered(found: Mapping[str, Any] | None) -> str:
    return "there is no critical service" if found else _UNASKED


def _incident(one: Incident) -> dict[str, Any]:
    run, sent = one.run, one.first_sent
    return {
        "run": run.id,
        "alert": run.labels.get("alertname", ""),
        "severity": run.labels.get("severity", ""),
        "target": run.target,
        "group": run.group_name,
        "playbook": run.playbook,
        "state": str(run.state),
        "refusal": run.refusal,
        "outcome": run.outcome,
        "started_at": rfc3339(run.starts_at),
        "received_at": rfc3339(run.received_at),
        "ended_at": rfc3339(run.ended_at),
        "verdict": run.verdict["answer"] if run.verdict else None,
        "steps": [f"{step.action} {step.outcome or step.stage}" for step in one.steps],
        "seconds_to_action": None if sent is None else max(0.0, sent - run.starts_at),
        "asked_by": run.asked["by"] if run.asked else None,
        "approved_by": _approver(one),
        "mark": None if run.mark is None else ("right" if run.mark["right"] else "wrong"),
        "marked_by": run.mark["by"] if run.mark else None,
    }


def _approver(one: Incident) -> str | None:
    approval = one.approval
    return None if approval is None or approval.get("denied") else approval["by"]


def _actions(incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    found = Counter(
        (step.action, str(step.outcome or "underway")) for one in incidents for step in one.steps
    )
    return [
        {"action": action, "outcome": outcome, "steps": count}
        for (action, outcome), count in sorted(found.items())
    ]


def _approvals(
    incidents: Sequence[Incident], said: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Who said yes and no to each run that people decided on, with the records that prove it.

    Four eyes: at least two people, the one who asked for the run being one of them.
    """
    found = []
    for one in incidents:
        mine = [row for row in said if row["run_id"] == one.run.id]
        decided = [row for row in mine if row["event"] in {_APPROVED, _DENIED}]
        if not decided:
            continue
        agreed = {row["actor"] for row in mine if row["event"] in {_APPROVED, _STARTED}}
        found.append(
            {
                "run": one.run.id,
                "asked_by": one.run.asked["by"] if one.run.asked else "alertmanager",
                "plan": (one.run.plan or {}).get("digest"),
                "decisions": [_told(row) for row in decided],
                "people": sorted(agreed),
                "four_eyes": len(agreed) > 1,
            }
        )
    return found


def _rollbacks(
    incidents: Sequence[Incident], said: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    by = {row["run_id"]: row["actor"] for row in said if row["event"] == _ROLLED_BACK}
    return [
        {
            "run": one.run.id,
            "by": by.get(one.run.id, "smartcloudops"),
            "undone": [
                f"{step.action} on {step.target}: {step.outcome}"
                for step in one.steps
                if step.undoes is not None
            ],
            "outcome": one.run.outcome,
        }
        for one in incidents
        if one.run.state is State.ROLLED_BACK or any(step.undoes is not None for step in one.steps)
    ]


def _audit(asked: Asked) -> dict[str, Any]:
    found = asked.verification
    if found is None:
        return {"ok": None, "reason": asked.why_unverified}
    return {**asdict(found), "reason": None}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record as evidence: its number and hash find it in the audit."""
    detail = {key: value for key, value in row["detail"].items() if key != "origin"}
    return {
        "record": row["seq"],
        "hash": row["hash"],
        "at": rfc3339(row["at"]),
        "who": row["actor"],
        "role": row["detail"].get("origin", {}).get("role"),
        "what": row["event"],
        "detail": detail,
    }


def _counted(values: Iterator[str | None]) -> dict[str, int]:
    found = Counter(one for one in values if one is not None)
    return dict(sorted(found.items()))
