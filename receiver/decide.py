"""What to do about an alert: one pure function over a snapshot, an ordered row of guards.

Each guard says why the run may pass, or refuses with a name. What is unknown is None, and None
refuses. The guards that need no evidence come first, so that a storm costs no re-checks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from actions.action import TargetKind
from actions.catalog import CATALOG
from actions.claims import Claim, Denial
from actions.fleet import Group, Instance
from models.verdict import Answer, Verdict
from receiver.conditions import Facts, GroupFacts, RunFacts, TargetFacts, VerdictFacts
from receiver.playbooks import Playbook, Step
from receiver.settings import Mode

OPT_IN_TAG = "smartcloudops:remediate"
# After a refusal that time may lift, a repeat of the alert is looked at anew.
RETRY_AFTER_S = 60.0


class Reason(StrEnum):
    """Why nothing is done; each has its paragraph in docs/refusals.md."""

    MALFORMED_ALERT = "malformed_alert"
    NO_PLAYBOOK = "no_playbook"
    AMBIGUOUS_PLAYBOOK = "ambiguous_playbook"
    NO_TARGET = "no_target"
    PAUSED = "paused"
    RESOLVED = "resolved"
    STALE = "stale"
    TARGET_BUSY = "target_busy"
    COOLDOWN = "cooldown"
    STATE_UNKNOWN = "state_unknown"
    TARGET_UNPROVEN = "target_unproven"
    VERDICT_REFUTED = "verdict_refuted"
    VERDICT_UNDECIDED = "verdict_undecided"
    CONDITION_UNKNOWN = "condition_unknown"
    NO_STEP = "no_step"
    INTERNAL_ERROR = "internal_error"


# What no passing of time changes while the alert stays what it is.
_LASTING = frozenset(
    {
        Reason.MALFORMED_ALERT,
        Reason.NO_PLAYBOOK,
        Reason.AMBIGUOUS_PLAYBOOK,
        Reason.NO_TARGET,
        Reason.RESOLVED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The alert that is decided on."""

    run_id: str
    labels: Mapping[str, str]
    starts_at: float
    odd: str | None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A snapshot of all that bears on the decision; None is unknown.

    `target` is an instance id or a group's name, `group` the name of the group it belongs to.
    `instance` and `asg` are what AWS says of them. `rung` is the first step of the ladder that
    may still be taken. Times are epoch seconds.
    """

    mode: Mode
    paused: bool | None
    resolved: bool | None
    last_seen_at: float | None
    gap_s: float
    target: str | None
    kind: TargetKind | None
    group: str | None
    claims: Mapping[str, Claim] | None
    instance: Instance | None = None
    asg: Group | None = None
    rung: int = 0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One guard's answer, as the run's story shows it."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The one step that would be taken.

    `instance_id` and `group` are what the alert is about, empty where it is about none.
    """

    playbook: Playbook
    rung: int
    step: Step
    target: str
    instance_id: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Act:
    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Observe:
    """It would have acted, were it allowed to."""

    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """`retry_at`: when a repeat of the alert is worth another look; None for never."""

    reason: Reason
    detail: str
    gates: Sequence[Gate]
    retry_at: float | None


Decision = Act | Observe | Refusal


@dataclass(frozen=True, kw_only=True)
class _Case:
    alert: Subject
    verdict: Verdict | None
    playbooks: Sequence[Playbook]
    situation: Situation
    now: float


@dataclass(frozen=True)
class _No:
    reason: Reason
    detail: str
    retry_at: float | None = None


_Guard = Callable[[_Case], str | _No]


def _alert(case: _Case) -> str | _No:
    if case.alert.odd is not None:
        return _No(Reason.MALFORMED_ALERT, case.alert.odd)
    return "well-formed"


def _playbook(case: _Case) -> str | _No:
    names = [playbook.name for playbook in case.playbooks]
    if not names:
        return _No(Reason.NO_PLAYBOOK, "no playbook matches the alert's labels")
    if len(names) > 1:
        return _No(Reason.AMBIGUOUS_PLAYBOOK, f"more than one matches: {', '.join(names)}")
    return names[0]


def _target(case: _Case) -> str | _No:
    if case.situation.target is None:
        return _No(Reason.NO_TARGET, "no instance or group can be told from the labels")
    return case.situation.target


def _switch(case: _Case) -> str | _No:
    if case.situation.paused is None:
        return _No(Reason.STATE_UNKNOWN, "the kill switch cannot be read")
    return _No(Reason.PAUSED, "a person has paused it") if case.situation.paused else "not paused"


def _firing(case: _Case) -> str | _No:
    situation = case.situation
    if situation.resolved is None or situation.last_seen_at is None:
        return _No(Reason.STATE_UNKNOWN, "it is not known whether the alert still fires")
    if situation.resolved:
        return _No(Reason.RESOLVED, "Alertmanager says that it is over")
    age = case.now - situation.last_seen_at
    if age > situation.gap_s:
        return _No(Reason.STALE, f"it was last seen firing {age:.0f} s ago")
    return f"last seen firing {max(0.0, age):.1f} s ago"


def _free(case: _Case) -> str | _No:
    names = [name for name in (case.situation.target, case.situation.group) if name]
    for name in names:
        no = _claimable(case, name)
        if no is not None:
            return no
    return "no other run has it, no cooldown"


def _claimable(case: _Case, target: str) -> _No | None:
    if case.situation.claims is None:
        return _No(Reason.STATE_UNKNOWN, "the claims cannot be read")
    claim = case.situation.claims.get(target)
    denial = claim.denies(case.alert.run_id, case.now) if claim else None
    if claim is None or denial is None:
        return None
    if denial is Denial.COOLDOWN:
        left = claim.cooldown_until - case.now
        return _No(
            Reason.COOLDOWN,
            f"{target} was acted on by run {claim.run_id}, {left:.0f} s are left",
            claim.cooldown_until,
        )
    return _No(Reason.TARGET_BUSY, f"run {claim.run_id} holds {target}")


def _proven(case: _Case) -> str | _No:
    situation = case.situation
    if situation.group is not None and situation.asg is None:
        return _No(Reason.TARGET_UNPROVEN, f"AWS did not confirm the group {situation.group}")
    if situation.kind is TargetKind.GROUP:
        return f"AWS knows {situation.group}"
    found = situation.instance
    if found is None:
        return _No(Reason.TARGET_UNPROVEN, f"AWS did not confirm {situation.target}")
    doubt = _doubt(case, found)
    return _No(Reason.TARGET_UNPROVEN, doubt) if doubt else f"AWS confirms {found.id}"


def _doubt(case: _Case, found: Instance) -> str | None:
    """Why the instance may not be the one that the alert means, or None."""
    if found.state != "running":
        return f"{found.id} is {found.state}"
    if found.launched_at > case.alert.starts_at:
        return f"{found.id} was launched after the alert began"
    if found.group != case.situation.group:
        return f"{found.id} is not in the group that the alert names"
    if found.tags.get(OPT_IN_TAG) != "true":
        return f"{found.id} has no tag {OPT_IN_TAG}=true"
    return None


def _verdict(case: _Case) -> str | _No:
    verdict = case.verdict
    if verdict is None:
        return _No(Reason.VERDICT_UNDECIDED, "there is no verdict")
    reasons = "; ".join(reason.text for reason in verdict.contributions) or "no reasons given"
    match verdict.answer:
        case Answer.CONFIRMED:
            return reasons
        case Answer.REFUTED:
            return _No(Reason.VERDICT_REFUTED, reasons)
        case Answer.UNDECIDED:
            return _No(Reason.VERDICT_UNDECIDED, reasons)
    assert_never(verdict.answer)


def _step(case: _Case) -> str | _No:
    chosen = _choose(case)
    return chosen if isinstance(chosen, _No) else f"{chosen.step.action} on {chosen.target}"


def _step_free(case: _Case) -> str | _No:
    chosen = _choose(case)
    if isinstance(chosen, _No):
        return chosen
    return _claimable(case, chosen.target) or f"{chosen.target} may be acted on"


_EARLY: tuple[tuple[str, _Guard], ...] = (
    ("alert", _alert),
    ("playbook", _playbook),
    ("target", _target),
    ("switch", _switch),
    ("firing", _firing),
    ("free", _free),
)
_LATE: tuple[tuple[str, _Guard], ...] = (
    ("proven", _proven),
    ("verdict", _verdict),
    ("step", _step),
    ("step_free", _step_free),
)


def screen(
    alert: Subject, playbooks: Sequence[Playbook], situation: Situation, now: float
) -> Refusal | None:
    """The guards that need neither metrics nor AWS: a refusal, or None to go on."""
    case = _Case(alert=alert, verdict=None, playbooks=playbooks, situation=situation, now=now)
    _, refusal = _walk(case, _EARLY)
    return refusal


def decide(
    alert: Subject,
    verdict: Verdict | None,
    playbooks: Sequence[Playbook],
    situation: Situation,
    now: float,
) -> Decision:
    """What to do. `playbooks` are those whose matchers fit; just one of them may."""
    case = _Case(alert=alert, verdict=verdict, playbooks=playbooks, situation=situation, now=now)
    gates, refusal = _walk(case, _EARLY + _LATE)
    if refusal is not None:
        return refusal
    plan = _choose(case)
    if isinstance(plan, _No):
        raise RuntimeError("the guard before this has refused it")  # noqa: TRY004 not a type
    allowed = _weaker(situation.mode, plan.playbook.mode)
    armed = allowed is Mode.AUTO
    detail = f"{allowed}: the service says {situation.mode}, the playbook {plan.playbook.mode}"
    gates.append(Gate(name="mode", passed=armed, detail=detail))
    return Act(plan=plan, gates=gates) if armed else Observe(plan=plan, gates=gates)


def _walk(case: _Case, guards: Sequence[tuple[str, _Guard]]) -> tuple[list[Gate], Refusal | None]:
    gates: list[Gate] = []
    for name, guard in guards:
        answer = guard(case)
        if isinstance(answer, str):
            gates.append(Gate(name=name, passed=True, detail=answer))
            continue
        gates.append(Gate(name=name, passed=False, detail=answer.detail))
        retry_at = None
        if answer.reason not in _LASTING:
            retry_at = max(answer.retry_at or 0.0, case.now + RETRY_AFTER_S)
        return gates, Refusal(
            reason=answer.reason, detail=answer.detail, gates=gates, retry_at=retry_at
        )
    return gates, None


def _choose(case: _Case) -> Plan | _No:
    """The first step of the ladder, from the present rung on, whose condition holds."""
    playbook, situation = case.playbooks[0], case.situation
    facts = _facts(case)
    for rung, step in enumerate(playbook.steps[situation.rung :], situation.rung):
        holds = True if step.when is None else step.when.evaluate(facts)
        if holds is None:
            return _No(Reason.CONDITION_UNKNOWN, f"it cannot be told whether: {step.when}")
        if holds:
            kind = CATALOG[step.action].target
            target = situation.group if kind is TargetKind.GROUP else _instance_id(situation)
            if target is None:
                return _No(Reason.NO_TARGET, f"{step.action} needs a target of kind {kind}")
            return Plan(
                playbook=playbook,
                rung=rung,
                step=step,
                target=target,
                instance_id=_instance_id(situation) or "",
                group=situation.group or "",
            )
    return _No(Reason.NO_STEP, "no further step applies" if situation.rung else "no step applies")


def _instance_id(situation: Situation) -> str | None:
    return situation.target if situation.kind is TargetKind.INSTANCE else None


def _facts(case: _Case) -> Facts:
    situation, verdict = case.situation, case.verdict
    asg = situation.asg
    return Facts(
        verdict=VerdictFacts(
            answer=str(verdict.answer) if verdict else None,
            score=verdict.score if verdict else None,
            confidence=verdict.confidence if verdict else None,
        ),
        group=GroupFacts(
            name=situation.group,
            surging=verdict.surging if verdict else None,
            peers=verdict.peers if verdict else None,
            peers_moved=verdict.peers_moved if verdict else None,
            size=len(asg.members) if asg else None,
            desired=asg.desired if asg else None,
            max=asg.maximum if asg else None,
        ),
        target=TargetFacts(
            id=situation.target,
            kind=str(situation.kind) if situation.kind else None,
            az=situation.instance.az if situation.instance else None,
        ),
        labels=dict(case.alert.labels),
        run=RunFacts(rung=situation.rung),
    )


def _weaker(one: Mode, other: Mode) -> Mode:
    order = list(Mode)
    return min(one, other, key=order.index)
