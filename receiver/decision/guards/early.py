"""The guards that need neither AWS nor metrics, so that a storm costs next to nothing.

What is unknown is None, and None refuses.
"""

from actions.base import Impact, TargetKind
from actions.catalog.registry import CATALOG
from actions.reasons import Reason
from receiver.controls.overrides import Effect
from receiver.decision.guards.base import Case, Guards, No
from receiver.decision.model import PastAct
from receiver.playbooks.schema import Step

# So long an act of ours may be the cause of an alert.
_ECHOES_S = 300.0


def _alert(case: Case) -> str | No:
    if case.alert.odd is not None:
        return No(Reason.MALFORMED_ALERT, case.alert.odd)
    return "well-formed"


def _playbook(case: Case) -> str | No:
    names = [playbook.name for playbook in case.playbooks]
    if not names:
        return No(Reason.NO_PLAYBOOK, "no playbook matches the alert's labels")
    if len(names) > 1:
        return No(Reason.AMBIGUOUS_PLAYBOOK, f"more than one matches: {', '.join(names)}")
    return names[0]


def _target(case: Case) -> str | No:
    if case.situation.target is None:
        return No(Reason.NO_TARGET, "no instance or group can be told from the labels")
    return case.situation.target


def _switch(case: Case) -> str | No:
    if case.situation.paused is None:
        return No(Reason.STATE_UNKNOWN, "the kill switch cannot be read")
    return No(Reason.PAUSED, "a person has paused it") if case.situation.paused else "not paused"


def _override(case: Case) -> str | No:
    if case.situation.overrides is None:
        return No(Reason.STATE_UNKNOWN, "the overrides cannot be read")
    for one in case.situation.overrides:
        if one.effect is Effect.HOLD:
            return No(
                Reason.OVERRIDE_HOLD, f"{one.created_by} holds it: {one.comment}", one.ends_at
            )
    return "no hold"


def _firing(case: Case) -> str | No:
    situation = case.situation
    if situation.resolved is None or situation.last_seen_at is None:
        return No(Reason.STATE_UNKNOWN, "it is not known whether the alert still fires")
    if situation.resolved:
        return No(Reason.RESOLVED, "Alertmanager says that it is over")
    age = case.now - situation.last_seen_at
    if age > situation.gap_s:
        return No(Reason.STALE, f"it was {_seen(case)} {age:.0f} s ago")
    return f"{_seen(case)} {max(0.0, age):.1f} s ago"


def _seen(case: Case) -> str:
    asked = case.alert.asked
    return f"asked for by {asked.by}" if asked else "last seen firing"


def _echo(case: Case) -> str | No:
    """An alert that our own act brought about is no reason for another act."""
    if case.situation.acts is None:
        return No(Reason.STATE_UNKNOWN, "our own acts cannot be read")
    if case.alert.asked is not None:
        return "a person asks for it"
    for act in case.situation.acts:
        if act.target == case.situation.target and CATALOG[act.action].removes_capacity:
            no = echo_of(case, act)
            if no is not None:
                return no
    return "not our own doing"


def echo_of(case: Case, act: PastAct) -> No | None:
    """The refusal of an alert that began right after an act."""
    over = act.at + _ECHOES_S
    if act.run_id == case.alert.run_id or not act.at <= case.alert.starts_at:
        return None
    if case.now >= over:
        return None
    detail = f"{act.action} of {act.target} by run {act.run_id} brought it about"
    return No(Reason.SELF_INFLICTED, detail, over, act.run_id)


def _free(case: Case) -> str | No:
    """The target's own cooldown counts; of its group only that a run works on it."""
    situation = case.situation
    no = claimable(case, situation.target or "")
    if no is None and situation.group is not None:
        of_group = claimable(case, situation.group)
        busy = of_group is not None and of_group.reason is not Reason.COOLDOWN
        no = of_group if busy else None
    return no or "no other run has it, no cooldown"


def claimable(case: Case, target: str) -> No | None:
    """Why the target may not be claimed, or None."""
    if case.situation.claims is None:
        return No(Reason.STATE_UNKNOWN, "the claims cannot be read")
    claim = case.situation.claims.get(target)
    denial = claim.why_not(case.alert.run_id, case.now) if claim else None
    if claim is None or denial is None:
        return None
    if denial is Reason.COOLDOWN:
        left = claim.cooldown_until - case.now
        return No(
            Reason.COOLDOWN,
            f"{target} was acted on by run {claim.run_id}, {left:.0f} s are left",
            claim.cooldown_until,
        )
    return No(Reason.TARGET_BUSY, f"run {claim.run_id} holds {target}")


def _rate(case: Case) -> str | No:
    if _only_tells(case):
        return "it only tells people"
    return within_rates(case, case.situation.target or "")


def within_rates(case: Case, target: str) -> str | No:
    attempts = case.situation.attempts
    if attempts is None or target not in attempts:
        return No(Reason.STATE_UNKNOWN, "the attempts cannot be counted")
    exceeded = attempts[target].exceeds(case.playbooks[0].limits.rates)
    return No(Reason.RATE_LIMIT, exceeded) if exceeded else "within the rates"


def _breaker(case: Case) -> str | No:
    breaker = case.situation.breaker
    if breaker is None:
        return No(Reason.STATE_UNKNOWN, "the breaker cannot be read")
    if _only_tells(case):
        return "it only tells people"
    denied = breaker.why_open(case.alert.run_id, case.now)
    return No(Reason.BREAKER_OPEN, denied) if denied else "closed"


def _arming(case: Case) -> str | No:
    """It says no to nothing: what is not armed is decided all the same, and observed."""
    armed = case.situation.arming
    if armed is None:
        return No(Reason.STATE_UNKNOWN, "it is not known whether the playbook is armed")
    return armed.why


def _only_tells(case: Case) -> bool:
    return not any(touches(step) for step in ladder(case))


def ladder(case: Case) -> list[Step]:
    """The steps that may still be taken."""
    return case.playbooks[0].steps[case.situation.rung :]


def touches(step: Step) -> bool:
    """Whether it changes anything."""
    return CATALOG[step.action].impact is not Impact.HARMLESS


def touches_instance(step: Step) -> bool:
    return touches(step) and CATALOG[step.action].target is TargetKind.INSTANCE


# What the alert itself answers.
PLAIN: Guards = (
    ("alert", _alert),
    ("playbook", _playbook),
    ("target", _target),
)
EARLY: Guards = (
    *PLAIN,
    ("paused", _switch),
    ("override", _override),
    ("firing", _firing),
    ("self_inflicted", _echo),
    ("free", _free),
    ("rate", _rate),
    ("breaker", _breaker),
    ("arming", _arming),
)
