"""A run as the API tells it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actions.catalog.registry import CATALOG
from actions.execution.circuit_breakers import Breaker
from actions.execution.ledger import Intent
from receiver.controls.arming import Arming
from receiver.playbooks.schema import Playbook
from receiver.runs.model import Run
from receiver.settings import Mode


def when(moment: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def told(
    playbook: Playbook,
    breaker: Breaker | None,
    armings: Sequence[Arming],
    goes: Mode,
) -> dict[str, Any]:
    """A playbook as it is loaded, with how far it goes, and who has said so."""
    return {
        "name": playbook.name,
        "description": playbook.description.strip(),
        "match": [str(matcher) for matcher in playbook.match],
        "mode": str(playbook.mode),
        "digest": playbook.digest,
        "cooldown_s": playbook.cooldown_s,
        "limits": playbook.limits.model_dump(),
        "undecided": playbook.undecided.model_dump(),
        "steps": [
            {
                "action": step.action,
                "params": step.params,
                "when": str(step.when) if step.when else None,
                "ask": step.ask or CATALOG[step.action].asks,
            }
            for step in playbook.steps
        ],
        "rollback": playbook.rollback,
        "breaker": {
            "failures": breaker.failures if breaker else 0,
            "opened_at": when(breaker.opened_at) if breaker else None,
        },
        "goes": str(goes),
        "armings": [arming_story(one, playbook.digest) for one in armings],
    }


def arming_story(arming: Arming, digest: str) -> dict[str, Any]:
    """An arming of the playbook that has this digest now."""
    figures = arming.figures
    return {
        "service": arming.service or None,
        "mode": str(arming.mode),
        "canary_percent": arming.canary_percent,
        "by": arming.by,
        "comment": arming.comment,
        "at": when(arming.at),
        "since": when(arming.since),
        "changed": arming.mode is not Mode.OBSERVE and arming.digest != digest,
        "justification": {**figures, "since": when(figures["since"])} if figures else None,
        "despite": list(arming.despite),
    }


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
            "starts_at": when(run.starts_at),
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
        "received_at": when(run.received_at),
        "decided_at": when(run.decided_at),
        "ended_at": when(run.ended_at),
        "next_act_at": when(run.next_act_at),
    }


def _dated(said: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if said is None else {**said, "at": when(said["at"])}


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
        "started_at": when(intent.started_at),
        "dispatched_at": when(intent.dispatched_at),
        "ended_at": when(intent.ended_at),
    }
