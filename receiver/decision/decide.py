"""What to do about an alert: one pure function over a snapshot, through the row of guards."""

from collections.abc import Sequence
from typing import assert_never

from actions.reasons import Reason
from models.inference.verdict import Verdict
from receiver.controls.overrides import Effect
from receiver.decision.guards.base import Case, Guards, No
from receiver.decision.guards.early import EARLY
from receiver.decision.guards.late import KNOWN, LATE, asks
from receiver.decision.ladder import choose
from receiver.decision.model import (
    LASTING,
    Act,
    Ask,
    Decision,
    Gate,
    Observe,
    Plan,
    Refusal,
    Situation,
    Subject,
)
from receiver.playbooks.schema import Playbook
from receiver.settings import Mode

# After a refusal that time may lift, a repeat of the alert is looked at anew.
RETRY_AFTER_S = 60.0


def screen(
    alert: Subject,
    playbooks: Sequence[Playbook],
    situation: Situation,
    now: float,
    guards: Guards = EARLY,
) -> Refusal | None:
    """Some of the guards, for which all that they ask is known: a refusal, or None to go on."""
    case = Case(alert=alert, verdict=None, playbooks=playbooks, situation=situation, now=now)
    _, refusal = _walk(case, guards)
    return refusal


def decide(
    alert: Subject,
    verdict: Verdict | None,
    playbooks: Sequence[Playbook],
    situation: Situation,
    now: float,
) -> Decision:
    """What to do. `playbooks` are those whose matchers fit; just one of them may."""
    case = Case(alert=alert, verdict=verdict, playbooks=playbooks, situation=situation, now=now)
    gates, refusal = _walk(case, (*EARLY, *KNOWN, *LATE))
    if refusal is not None:
        return refusal
    plan = choose(case)
    if isinstance(plan, No):
        raise RuntimeError("the guard before this has refused it")  # noqa: TRY004 not a type
    return _allowed(case, plan, gates)


def _allowed(case: Case, plan: Plan, gates: list[Gate]) -> Decision:
    """How far it may go: the weakest of what the service, the playbook and people say.

    Where it is not known whether it is armed, a guard has refused before.
    """
    situation = case.situation
    limits = [(situation.mode, "the service"), (plan.playbook.mode, "the playbook")]
    limits += [
        (Mode.OBSERVE, f"override {one.id}")
        for one in situation.overrides or ()
        if one.effect is Effect.OBSERVE
    ]
    if situation.arming is not None:
        limits.append(situation.arming.limit(plan.playbook.name, plan.target))
    limits += [(Mode.APPROVE, why) for why in asks(case, plan)]
    if case.alert.asked is not None and case.alert.asked.dry_run:
        limits.append((Mode.OBSERVE, "whoever asks: it is a dry run"))
    order = list(Mode)
    mode, who = min(limits, key=lambda limit: order.index(limit[0]))
    detail = f"{mode}, says {who}"
    match mode:
        case Mode.AUTO:
            return Act(plan=plan, gates=[*gates, Gate(name="mode", passed=True, detail=detail)])
        case Mode.OBSERVE:
            gates.append(Gate(name="mode", passed=False, detail=detail))
            return Observe(plan=plan, gates=gates)
        case Mode.APPROVE:
            gates.append(Gate(name="mode", passed=True, detail=detail))
            return _approved(case, plan, gates)
    assert_never(mode)


def _approved(case: Case, plan: Plan, gates: list[Gate]) -> Decision:
    approval = case.situation.approval
    if approval is None:
        gates.append(Gate(name="approval", passed=False, detail="a person is asked"))
        return Ask(plan=plan, gates=gates)
    if approval.digest != plan.digest:
        detail = f"what {approval.by} approved is not what would be done now"
        gates.append(Gate(name="approval", passed=False, detail=detail))
        retry_at = case.now + RETRY_AFTER_S
        return Refusal(reason=Reason.PLAN_CHANGED, detail=detail, gates=gates, retry_at=retry_at)
    gates.append(Gate(name="approval", passed=True, detail=f"{approval.by} approved it"))
    return Act(plan=plan, gates=gates)


def _walk(case: Case, guards: Guards) -> tuple[list[Gate], Refusal | None]:
    gates: list[Gate] = []
    for name, guard in guards:
        answer = guard(case)
        if isinstance(answer, str):
            gates.append(Gate(name=name, passed=True, detail=answer))
            continue
        gates.append(Gate(name=name, passed=False, detail=answer.detail))
        retry_at = None
        if answer.reason not in LASTING:
            retry_at = max(answer.retry_at or 0.0, case.now + RETRY_AFTER_S)
        return gates, Refusal(
            reason=answer.reason,
            detail=answer.detail,
            gates=gates,
            retry_at=retry_at,
            caused_by=answer.caused_by,
        )
    return gates, None
