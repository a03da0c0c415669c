"""A report of a period from the records: incidents, approvals, figures, and audit evidence."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection

from actions.audit.chain import Verification
from actions.execution import ledger
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.reports import agreement, commands, figures
from receiver.reports.figures import Incident, Metric
from receiver.reports.saved import minutes_saved
from receiver.runs.queries import search
from receiver.runs.queries.search import RunFilter
from receiver.runtime.rfc3339 import rfc3339

_PAGE = 500
_NOT_REQUESTED = "the figure was not requested"


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """The period in epoch seconds, figures from people, and parts computed elsewhere.

    `availability` is queried earlier, because a snapshot of the records must not wait for
    Prometheus.
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
    records = commands.read_commands(connection, inputs.since)
    lifts = agreement.lifts(connection, inputs.since, inputs.until)
    return {
        "period": {"since": rfc3339(inputs.since), "until": rfc3339(inputs.until)},
        "figures": {
            name: asdict(metric) for name, metric in _figures(incidents, lifts, inputs).items()
        },
        "incidents": {
            "total": len(incidents),
            "by_state": _count(str(incident.run.state) for incident in incidents),
            "by_alert": _count(incident.run.labels.get("alertname", "") for incident in incidents),
            "by_day": _count(
                (rfc3339(incident.run.received_at) or "")[:10] for incident in incidents
            ),
            "items": [_incident_row(incident) for incident in incidents],
        },
        "agreement": agreement.agreement(connection, inputs.since),
        "lift": lifts,
        "habits": agreement.unwritten(connection, inputs.since),
        "actions": _actions(incidents),
        "approvals": commands.approvals(incidents, records),
        "refusals": _count(incident.run.refusal for incident in incidents if incident.run.refusal),
        "rollbacks": commands.rollbacks(incidents, records),
        "overrides": commands.overrides(records),
        "audit": _audit(inputs),
        "reconciliation": inputs.reconciliation,
        "reconciliation_reason": None if inputs.reconciliation else _NOT_REQUESTED,
    }


def query_number(prometheus: Prometheus, at: float, expr: str) -> float | None:
    """The number that the expression returns, or None. Raises ValueError if the query failed."""
    try:
        samples = prometheus.instant_query(expr, at=at)
    except PrometheusError as error:
        raise ValueError(f"Prometheus: {error}") from None
    return samples[0].value if len(samples) == 1 else None


def _incidents(connection: Connection, inputs: ReportInput) -> Iterator[Incident]:
    """Runs received in the period, newest first, without dry runs."""
    before = None
    while True:
        page = search.list_runs(
            connection, RunFilter(since=inputs.since), before=before, limit=_PAGE
        )
        steps = ledger.intents_by_run(connection, [run.id for run in page])
        for run in page:
            dry_run = run.request is not None and run.request.dry_run
            if run.received_at < inputs.until and not dry_run:
                yield Incident(run=run, steps=steps.get(run.id, ()))
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _figures(
    incidents: Sequence[Incident], lifts: Sequence[Mapping[str, Any]], inputs: ReportInput
) -> Mapping[str, Metric]:
    return {
        "time_to_action": figures.time_to_action(incidents),
        "correct_actions": figures.correct_actions(incidents),
        "availability": inputs.availability,
        "coverage": _coverage(inputs.coverage),
        "time_to_recovery": figures.time_to_recovery(incidents, inputs.manual_minutes),
        "minutes_saved": minutes_saved(incidents, lifts, inputs.manual_minutes),
        "interventions_avoided": figures.interventions_avoided(incidents),
        "instance_hours_saved": figures.hours_saved(incidents, inputs.until, inputs.price),
    }


def _coverage(coverage: Mapping[str, Any] | None) -> Metric:
    return Metric(
        title="Coverage of critical services",
        value=coverage["covered_share"] if coverage else None,
        unit="share",
        definition="Share of the critical services (groups tagged as critical; if none is tagged, "
        "all groups) that have metrics, an alerting rule with a matching playbook, a mode that "
        "acts, and the opt-in tag on the group and all its instances, when the report is made.",
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
        "verdict": run.verdict.answer if run.verdict else None,
        "steps": [f"{step.action} {step.outcome or step.stage}" for step in incident.steps],
        "seconds_to_action": None if sent is None else max(0.0, sent - run.starts_at),
        "asked_by": run.request.by if run.request else None,
        "approved_by": run.approval.by if run.approval and not run.approval.denied else None,
        "mark": None if run.mark is None else ("right" if run.mark.right else "wrong"),
        "marked_by": run.mark.by if run.mark else None,
    }


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


def _audit(inputs: ReportInput) -> dict[str, Any]:
    verification = inputs.verification
    if verification is None:
        return {"ok": None, "reason": inputs.why_unverified}
    return {**asdict(verification), "reason": None}


def _count(values: Iterator[str | None]) -> dict[str, int]:
    counts = Counter(value for value in values if value is not None)
    return dict(sorted(counts.items()))
