"""Decides on an alert: a pure function of a snapshot, through all guards in order."""

from typing import assert_never

from actions.reasons import Reason
from actions.refusal import RETRY_AFTER_S
from receiver.controls.limits import override_modes
from receiver.decision.guards.base import GuardInput, Guards
from receiver.decision.guards.order import EARLY, KNOWN, LATE
from receiver.decision.guards.verdict import approval_reasons
from receiver.decision.ladder import chosen_plan
from receiver.decision.model import (
    LASTING,
    Act,
    Ask,
    Decision,
    Observe,
    Plan,
    Refuse,
)
from receiver.runs.model import GuardResult
from receiver.settings import Mode


def screen(inputs: GuardInput, guards: Guards = EARLY) -> Refuse | None:
    """The refusal by the given guards, whose facts must be read; None if all pass."""
    _, refusal = _check(inputs, guards)
    return refusal


def decide(inputs: GuardInput) -> Decision:
    """Decide on the alert. Unknown facts raise nothing: a guard refuses them."""
    gates, refusal = _check(inputs, (*EARLY, *KNOWN, *LATE))
    return refusal or _limit_by_mode(inputs, chosen_plan(inputs), gates)


def _limit_by_mode(inputs: GuardInput, plan: Plan, gates: list[GuardResult]) -> Decision:
    """Act, ask or observe: the lowest mode that the service, the playbook or a person sets."""
    snapshot, request = inputs.snapshot, inputs.trigger.request
    limits = [(snapshot.mode, "the service"), (plan.playbook.mode, "the playbook")]
    limits.append((snapshot.place_mode, f"the account and region {snapshot.place}"))
    limits += override_modes(inputs.overrides_of(plan.identity) or ())
    # The arming is known: otherwise a guard has refused.
    if snapshot.arming is not None:
        limits.append(snapshot.arming.limit(plan.playbook.name, plan.target))
    limits += [(Mode.APPROVE, why) for why in approval_reasons(inputs, plan)]
    if request is not None and request.dry_run:
        limits.append((Mode.OBSERVE, "the request: a dry run"))
    weakest_first = list(Mode)
    mode, source = min(limits, key=lambda limit: weakest_first.index(limit[0]))
    detail = f"{mode}, set by {source}"
    match mode:
        case Mode.AUTO:
            return Act(
                plan=plan, gates=[*gates, GuardResult(name="mode", passed=True, detail=detail)]
            )
        case Mode.OBSERVE:
            gates.append(GuardResult(name="mode", passed=False, detail=detail))
            return Observe(plan=plan, gates=gates)
        case Mode.APPROVE:
            gates.append(GuardResult(name="mode", passed=True, detail=detail))
            return _check_approval(inputs, plan, gates)
    assert_never(mode)


def _check_approval(inputs: GuardInput, plan: Plan, gates: list[GuardResult]) -> Decision:
    """The approval must be for this plan.

    ## plan_changed

    After a person approved the plan, the playbook, the instance or the group changed, so the
    approved plan is out of date. Compare the run's `plan` with the approval in its audit
    (`/api/v1/audit?run=…`).
    **To lift it:** wait for the alert's next repeat, which makes a new plan, and approve that plan.
    """
    approvals, rule = inputs.snapshot.approvals, plan.approvals
    if not approvals:
        detail = f"waiting for the approval of {rule}"
        gates.append(GuardResult(name="approval", passed=False, detail=detail))
        return Ask(plan=plan, gates=gates)
    by = ", ".join(approval.by for approval in approvals)
    if any(approval.digest != plan.digest for approval in approvals):
        detail = f"{by} approved another plan than this one"
        gates.append(GuardResult(name="approval", passed=False, detail=detail))
        retry_at = inputs.now + RETRY_AFTER_S
        return Refuse(reason=Reason.PLAN_CHANGED, detail=detail, gates=gates, retry_at=retry_at)
    if rule.count(approvals, inputs.trigger.request) < rule.people:
        detail = f"approved by {by}; the plan needs {rule}"
        gates.append(GuardResult(name="approval", passed=False, detail=detail))
        return Ask(plan=plan, gates=gates)
    gates.append(GuardResult(name="approval", passed=True, detail=f"approved by {by}"))
    return Act(plan=plan, gates=gates)


def _check(inputs: GuardInput, guards: Guards) -> tuple[list[GuardResult], Refuse | None]:
    """Check the guards in order, until one refuses."""
    gates: list[GuardResult] = []
    for name, guard in guards:
        answer = guard(inputs)
        if isinstance(answer, str):
            gates.append(GuardResult(name=name, passed=True, detail=answer))
            continue
        gates.append(GuardResult(name=name, passed=False, detail=answer.detail))
        retry_at = None
        if answer.reason not in LASTING:
            retry_at = max(answer.retry_at or 0.0, inputs.now + RETRY_AFTER_S)
        return gates, Refuse(
            reason=answer.reason,
            detail=answer.detail,
            gates=gates,
            retry_at=retry_at,
            caused_by=answer.caused_by,
        )
    return gates, None
