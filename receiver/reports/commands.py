"""People's commands in a report: approvals, rollbacks and overrides, with their audit records."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from actions.tables import audit
from receiver.reports.figures import Incident
from receiver.runs.model import State
from receiver.runtime.rfc3339 import rfc3339

_APPROVED, _DENIED = "run_approved_by_a_person", "run_denied_by_a_person"
_STARTED, _ROLLED_BACK = "run_started_by_a_person", "run_rolled_back_by_a_person"
_CONTROL = ("override_added", "override_ended", "paused", "resumed", "cooldown_ended")


def read_commands(connection: Connection, since: float) -> Sequence[Mapping[str, Any]]:
    """Audit records of people's commands, oldest first."""
    events = (_APPROVED, _DENIED, _STARTED, _ROLLED_BACK, *_CONTROL)
    query = select(audit).where(audit.c.at >= since, audit.c.event.in_(events))
    rows = connection.execute(query.order_by(audit.c.seq)).mappings()
    return [dict(row) | {"detail": json.loads(row["detail"])} for row in rows]


def approvals(
    incidents: Sequence[Incident], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Approvals and denials of each run, with the records that prove them.

    `rule` says who had to approve the run's last plan. Four eyes means that at least two people
    agreed, including the person who requested the run.
    """
    rows = []
    for incident in incidents:
        run = incident.run
        of_run = [record for record in records if record["run_id"] == run.id]
        decisions = [record for record in of_run if record["event"] in {_APPROVED, _DENIED}]
        if not decisions:
            continue
        people = {record["actor"] for record in of_run if record["event"] in {_APPROVED, _STARTED}}
        rows.append(
            {
                "run": run.id,
                "asked_by": run.request.by if run.request else "alertmanager",
                "plan": run.plan.digest if run.plan else None,
                "decisions": [_record_json(record) for record in decisions],
                "people": sorted(people),
                "four_eyes": len(people) > 1,
                "rule": str(run.plan.approvals) if run.plan else None,
                "rule_met": run.is_approved,
            }
        )
    return rows


def rollbacks(
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


def overrides(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Overrides, pauses and ended cooldowns."""
    return [_record_json(record) for record in records if record["event"] in _CONTROL]


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
