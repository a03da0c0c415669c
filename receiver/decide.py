"""What to do about an alert: one pure function over a snapshot, through the row of guards."""

from collections.abc import Sequence

from models.verdict import Verdict
from receiver.decision import (
    LASTING,
    Act,
    Decision,
    Gate,
    Observe,
    Refusal,
    Situation,
    Subject,
)
from receiver.guards import EARLY, LATE, Case, Guard, No, choose
from receiver.playbooks import Playbook
from receiver.settings import Mode

# After a refusal that time may lift, a repeat of the alert is looked at anew.
RETRY_AFTER_S = 60.0


def screen(
    alert: Subject, playbooks: Sequence[Playbook], situation: Situation, now: float
) -> Refusal | None:
    """The guards that need neither metrics nor AWS: a refusal, or None to go on."""
    case = Case(alert=alert, verdict=None, playbooks=playbooks, situation=situation, now=now)
    _, refusal = _walk(case, EARLY)
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
    gates, refusal = _walk(case, EARLY + LATE)
    if refusal is not None:
        return refusal
    plan = choose(case)
    if isinstance(plan, No):
        raise RuntimeError("the guard before this has refused it")  # noqa: TRY004 not a type
    allowed = _weaker(situation.mode, plan.playbook.mode)
    armed = allowed is Mode.AUTO
    detail = f"{allowed}: the service says {situation.mode}, the playbook {plan.playbook.mode}"
    gates.append(Gate(name="mode", passed=armed, detail=detail))
    return Act(plan=plan, gates=gates) if armed else Observe(plan=plan, gates=gates)


def _walk(case: Case, guards: Sequence[tuple[str, Guard]]) -> tuple[list[Gate], Refusal | None]:
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
            reason=answer.reason, detail=answer.detail, gates=gates, retry_at=retry_at
        )
    return gates, None


def _weaker(one: Mode, other: Mode) -> Mode:
    order = list(Mode)
    return min(one, other, key=order.index)
