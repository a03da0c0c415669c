"""A report of a period from the records: incidents, approvals, figures, and audit evidence."""

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
from receiver.reports.figures import Incident, Metric
from receiver.runs import store
from receiver.runs.model import State
from receiver.runs.store import RunFilter
from receiver.runtime.rfc3339 import rfc3339

_PAGE = 500
_APPROVED, _DENIED = "run_approved_by_a_person", "run_denied_by_a_person"
_STARTED, _ROLLED_BACK = "run_started_by_a_person", "run_rolled_back_by_a_person"
_CONTROL = ("override_added", "override_ended", "paused", "resumed", "cooldown_ended")
_NOT_REQUESTED = "it was not requested"


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """The period in epoch seconds, figures only a person knows, and parts computed elsewhere.

    `availability` is queried before: a snapshot of the records must not wait for Prometheus.
    """

    since: float
    until: float
    manual_minutes: float | None = None
    price: float | None = None
    availability: Metric
    reconciliation: Mapping[str, Any] | None = None
    coverage: Mapping[str, Any] | None = None
    verification: Verification | None = None
    why_unverified: str = field(default=_NOT_REQUESTED)


def make_report(connection: Connection, inputs: ReportInput) -> dict[str, Any]:
    """The report as JSON values, from one snapshot of the records."""
    incidents = list(_incidents(connection, inputs))
    records = _records_of_people(connection, inputs)
    return {
        "period": {"since": rfc3339(inputs.since), "until": rfc3339(inputs.until)},
        "figures": {name: asdict(metric) for name, metric in _figures(incidents, inputs).items()},
        "incidents": {
            "total": len(incidents),
            "by_state": _count(str(incident.run.state) for incident in incidents),
            "by_alert": _count(incident.run.labels.get("alertname", "") for incident in incidents),
            "by_day": _count(
                (rfc3339(incident.run.received_at) or "")[:10] for incident in incidents
            ),
            "items": [_incident_row(incident) for incident in incidents],
        },
        "actions": _actions(incidents),
        "approvals": _approvals(incidents, records),
        "refusals": _count(incident.run.refusal for incident in incidents if incident.run.refusal),
        "rollbacks": _rollbacks(incidents, records),
        "overrides": [_record_json(record) for record in records if record["event"] in _CONTROL],
        "audit": _audit(inputs),
        "reconciliation": inputs.reconciliation,
        "reconciliation_reason": None if inputs.reconciliation else _NOT_REQUESTED,
    }


def query_number(prometheus: Prometheus, at: float, expr: str) -> float | None:
    """The number that the expression gives, or None. Raises ValueError where the query failed."""
    try:
        samples = prometheus.instant_query(expr, at=at)
    except PrometheusError as error:
        raise ValueError(f"Prometheus: {error}") from None
    return samples[0].value if len(samples) == 1 else None


def _incidents(connection: Connection, inputs: ReportInput) -> Iterator[Incident]:
    """Runs received in the period, newest first, without dry runs."""
    before = None
    while True:
        page = store.list_runs(
            connection, RunFilter(since=inputs.since), before=before, limit=_PAGE
        )
        steps = ledger.intents_by_run(connection, [run.id for run in page])
        for run in page:
            dry_run = run.asked is not None and run.asked["dry_run"]
            if run.received_at < inputs.until and not dry_run:
                yield Incident(run=run, steps=steps.get(run.id, ()))
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _records_of_people(connection: Connection, inputs: ReportInput) -> Sequence[Mapping[str, Any]]:
    """Audit records of people's commands, oldest first."""
    events = (_APPROVED, _DENIED, _STARTED, _ROLLED_BACK, *_CONTROL)
    query = select(audit).where(audit.c.at >= inputs.since, audit.c.event.in_(events))
    rows = connection.execute(query.order_by(audit.c.seq)).mappings()
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]


def _figures(incidents: Sequence[Incident], inputs: ReportInput) -> Mapping[str, Metric]:
    return {
        "time_to_action": figures.time_to_action(incidents),
        "correct_actions": figures.correct_actions(incidents),
        "availability": inputs.availability,
        "coverage": _coverage(inputs.coverage),
        "time_to_recovery": figures.time_to_recovery(incidents, inputs.manual_minutes),
        "interventions_avoided": figures.interventions_avoided(incidents),
        "instance_hours_saved": figures.hours_saved(incidents, inputs.until, inputs.price),
    }


def _coverage(coverage: Mapping[str, Any] | None) -> Metric:
    return Metric(
        title="Coverage of critical services",
        value=coverage["covered_share"] if coverage else None,
        unit="share",
        definition="Critical services (groups tagged as critical; all groups, where none is) with "
        "metrics, a rule whose alerts a playbook matches, a mode that acts, and the opt-in tag on "
        "the group and all its instances; measured when the report is made.",
        reason=_why_no_share(coverage),
        more={"services": coverage["services"] if coverage else []},
    )


def _why_no_share(coverage: Mapping[str, Any] | None) -> str | None:
    if not coverage:
        return _NOT_REQUESTED
    return "there is no critical service" if coverage["covered_share"] is None else None


def _incident_row(incident: Incident) -> dict[str, Any]:
    run, sent = incident.run, incident.first_sent
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
        "steps": [f"{step.action} {step.outcome or step.stage}" for step in incident.steps],
        "seconds_to_action": None if sent is None else max(0.0, sent - run.starts_at),
        "asked_by": run.asked["by"] if run.asked else None,
        "approved_by": _approver(incident),
        "mark": None if run.mark is None else ("right" if run.mark["right"] else "wrong"),
        "marked_by": run.mark["by"] if run.mark else None,
    }


def _approver(incident: Incident) -> str | None:
    approval = incident.approval
    return None if approval is None or approval.get("denied") else approval["by"]


def _actions(incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    counts = Counter(
        (step.action, str(step.outcome or "underway"))
        for incident in incidents
        for step in incident.steps
    )
    return [
        {"action": action, "outcome": outcome, "steps": count}
        for (action, outcome), count in sorted(counts.items())
    ]


def _approvals(
    incidents: Sequence[Incident], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Approvals and denials of each run, with the records that prove them.

    Four eyes: at least two people agreed, counting the person who requested the run.
    """
    approvals = []
    for incident in incidents:
        run = incident.run
        of_run = [record for record in records if record["run_id"] == run.id]
        decisions = [record for record in of_run if record["event"] in {_APPROVED, _DENIED}]
        if not decisions:
            continue
        people = {record["actor"] for record in of_run if record["event"] in {_APPROVED, _STARTED}}
        approvals.append(
            {
                "run": run.id,
                "asked_by": run.asked["by"] if run.asked else "alertmanager",
                "plan": (run.plan or {}).get("digest"),
                "decisions": [_record_json(record) for record in decisions],
                "people": sorted(people),
                "four_eyes": len(people) > 1,
            }
        )
    return approvals


def _rollbacks(
    incidents: Sequence[Incident], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    by = {
        record["run_id"]: record["actor"] for record in records if record["event"] == _ROLLED_BACK
    }
    return [
        {
            "run": incident.run.id,
            "by": by.get(incident.run.id, "smartcloudops"),
            "undone": [
                f"{step.action} on {step.target}: {step.outcome}"
                for step in incident.steps
                if step.undoes is not None
            ],
            "outcome": incident.run.outcome,
        }
        for incident in incidents
        if incident.run.state is State.ROLLED_BACK
        or any(step.undoes is not None for step in incident.steps)
    ]


def _audit(inputs: ReportInput) -> dict[str, Any]:
    verification = inputs.verification
    if verification is None:
        return {"ok": None, "reason": inputs.why_unverified}
    return {**asdict(verification), "reason": None}


def _record_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as evidence, with the number and hash that identify it in the audit."""
    detail = {key: value for key, value in record["detail"].items() if key != "origin"}
    return {
        "record": record["seq"],
        "hash": record["hash"],
        "at": rfc3339(record["at"]),
        "who": record["actor"],
        "role": record["detail"].get("origin", {}).get("role"),
        "what": record["event"],
        "detail": detail,
    }


def _count(values: Iterator[str | None]) -> dict[str, int]:
    counts = Counter(value for value in values if value is not None)
    return dict(sorted(counts.items()))
