"""A run as the API shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from actions.execution.ledger import Intent
from receiver.runs.model import Run
from receiver.runtime.rfc3339 import rfc3339


def story(run: Run, steps: Sequence[Intent]) -> dict[str, Any]:
    """Everything but the evidence; each key is always there, null or empty where nothing is."""
    return {
        "id": run.id,
        "state": str(run.state),
        "refusal": run.refusal,
        "outcome": run.outcome,
        "alert": {
            "fingerprint": run.fingerprint,
            "labels": run.labels,
            "annotations": run.annotations,
            "starts_at": rfc3339(run.starts_at),
        },
        "target": run.target,
        "group": run.group_name,
        "playbook": run.playbook,
        "verdict": run.verdict,
        "gates": run.gates,
        "plan": run.plan,
        "approval": _dated(run.approval or (run.plan or {}).get("approval")),
        "asked": run.asked,
        "mark": _dated(run.mark),
        "caused_by": run.caused_by,
        "steps": [step(one) for one in steps],
        "received_at": rfc3339(run.received_at),
        "decided_at": rfc3339(run.decided_at),
        "ended_at": rfc3339(run.ended_at),
        "next_act_at": rfc3339(run.next_act_at),
    }


def _dated(said: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if said is None else {**said, "at": rfc3339(said["at"])}


def step(intent: Intent) -> dict[str, Any]:
    return {
        "action": intent.action,
        "target": intent.target,
        "params": intent.params,
        "before": intent.before,
        "made": intent.made,
        "undoes": intent.undoes,
        "stage": str(intent.stage),
        "outcome": str(intent.outcome) if intent.outcome else None,
        "error": intent.error,
        "started_at": rfc3339(intent.started_at),
        "dispatched_at": rfc3339(intent.dispatched_at),
        "ended_at": rfc3339(intent.ended_at),
    }
