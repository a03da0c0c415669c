"""A run as the API shows it."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from actions.execution.ledger import Intent
from actions.step_key import StepKind
from receiver.runs.model import Acknowledgement, Approval, FeedbackMark, Run, State
from receiver.runs.question import question_of
from receiver.runtime.rfc3339 import rfc3339


def run_view(run: Run, steps: Sequence[Intent]) -> dict[str, Any]:
    """The run without its evidence; every key is always present, null or empty without a value."""
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
        "account": run.account or None,
        "region": run.region or None,
        "playbook": run.playbook,
        "verdict": to_jsonable_python(run.verdict),
        "gates": to_jsonable_python(run.gates),
        "plan": to_jsonable_python(run.plan),
        "question": question_of(run) if run.state is State.AWAITING_APPROVAL else None,
        "approval": _with_rfc3339(run.approval),
        "approvals": [_with_rfc3339(approval) for approval in run.approvals],
        "asked": to_jsonable_python(run.request),
        "mark": _with_rfc3339(run.mark),
        "acknowledged": _with_rfc3339(run.acknowledged),
        "caused_by": run.caused_by,
        "relapsed_by": run.relapsed_by,
        "steps": [step_view(step) for step in steps if step.step.kind is not StepKind.CAPTURE],
        "captures": [capture_view(step) for step in steps if step.step.kind is StepKind.CAPTURE],
        "received_at": rfc3339(run.received_at),
        "decided_at": rfc3339(run.decided_at),
        "ended_at": rfc3339(run.ended_at),
        "next_act_at": rfc3339(run.next_act_at),
        "waits_until": rfc3339(run.verify_until if run.state is State.VERIFYING else None),
    }


def _with_rfc3339(
    answer: Approval | FeedbackMark | Acknowledgement | None,
) -> dict[str, Any] | None:
    """A person's answer with its `at` as text."""
    return None if answer is None else {**vars(answer), "at": rfc3339(answer.at)}


def capture_view(intent: Intent) -> dict[str, Any]:
    """What was captured before a step; `missing` says why a part is not among the objects."""
    return {
        "target": intent.target,
        "at": rfc3339(intent.started_at),
        "objects": intent.made.get("objects", []),
        "missing": intent.made.get("missing", {}),
        "error": intent.error,
    }


def step_view(intent: Intent) -> dict[str, Any]:
    return {
        "action": intent.action,
        "target": intent.target,
        "params": intent.params,
        "before": intent.before,
        "made": intent.made,
        "undoes": intent.undoes and intent.undoes.number,
        "stage": str(intent.stage),
        "outcome": str(intent.outcome) if intent.outcome else None,
        "result": str(intent.result) if intent.result else None,
        "error": intent.error,
        "started_at": rfc3339(intent.started_at),
        "dispatched_at": rfc3339(intent.dispatched_at),
        "ended_at": rfc3339(intent.ended_at),
    }
