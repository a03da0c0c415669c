"""Hold-outs: a share of the light incidents waits first, so that the others can be compared.

The run's id decides, not chance: nobody who sends an alert chooses it, and a decision that is made
again after a crash is the same. What people wait for, and what is critical, is never held out.
"""

import hashlib

from actions.reasons import Reason
from models.inference.verdict import Answer
from receiver.decision.model import Act, Refuse
from receiver.decision.pipeline import PipelineResult
from receiver.runs.model import Arm, GuardResult, HoldOutAssignment, Run

# An alert of any other severity, or of none, may be one that people wait on.
_LIGHT = frozenset({"info", "warning"})
_WHOLE = 1 << 64
_OVER = frozenset({Reason.RESOLVED, Reason.VERDICT_REFUTED})


def assign(run: Run, result: PipelineResult, now: float) -> HoldOutAssignment | None:
    """The run's arm, before its first step; None where it takes no part, or has its arm."""
    if run.holdout is not None or not isinstance(result.decision, Act):
        return None
    playbook = result.decision.plan.playbook
    if playbook.holdout is None or not is_light(run, result):
        return None
    return HoldOutAssignment(
        arm=Arm.HELD if in_share(run.id, playbook.holdout.share) else Arm.ACTED,
        at=now,
        wait_s=playbook.holdout.wait_s,
        relapse_s=playbook.limits.relapse_s,
    )


def is_light(run: Run, result: PipelineResult) -> bool:
    """Whether the incident may wait: confirmed, alone in its group, and no person is on it."""
    confirmed = result.verdict is not None and result.verdict.answer is Answer.CONFIRMED
    nobody = run.request is None and run.acknowledged is None
    nobody = nobody and run.approval is None and not run.approvals
    first = run.steps_begun == 0 and result.snapshot.relapse_of is None
    alone = len(result.snapshot.alerting_peers or ()) <= 1
    return confirmed and nobody and first and alone and run.labels.get("severity") in _LIGHT


def in_share(run_id: str, percent: float) -> bool:
    digest = hashlib.sha256(f"holdout\n{run_id}".encode()).digest()
    return int.from_bytes(digest[:8]) * 100 < percent * _WHOLE


def holdout_gate(assigned: HoldOutAssignment) -> GuardResult:
    if assigned.arm is Arm.ACTED:
        return GuardResult(name="holdout", passed=True, detail="not held out: it acts at once")
    minutes = assigned.wait_s / 60
    return GuardResult(
        name="holdout",
        passed=False,
        detail=f"held out: it waits {minutes:g} min, and is then decided again",
    )


def recovered_at(result: PipelineResult, now: float) -> float | None:
    """When the fault was over, of a run that was held out and takes no step; None if it was not."""
    decision, resolved_at = result.decision, result.snapshot.resolved_at
    if not isinstance(decision, Refuse):
        return None
    if decision.reason is Reason.STALE:
        # The alert came no more: over, if it was reported as such.
        return resolved_at
    if decision.reason not in _OVER:
        return None
    return now if resolved_at is None else resolved_at
