"""The guards: an ordered row, each of which says why a run may pass, or refuses with a name.

What is unknown is None, and None refuses. Those that need no evidence come first, so that a storm
costs no re-checks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from actions.action import TargetKind
from actions.catalog import CATALOG
from actions.claims import Denial
from actions.fleet import Instance
from models.verdict import Answer, Verdict
from receiver.conditions import Facts, GroupFacts, RunFacts, TargetFacts, VerdictFacts
from receiver.decision import Plan, Reason, Situation, Subject
from receiver.playbooks import Playbook

OPT_IN_TAG = "smartcloudops:remediate"


@dataclass(frozen=True, kw_only=True)
class Case:
    alert: Subject
    verdict: Verdict | None
    playbooks: Sequence[Playbook]
    situation: Situation
    now: float


@dataclass(frozen=True)
class No:
    reason: Reason
    detail: str
    retry_at: float | None = None


Guard = Callable[[Case], str | No]


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


def _firing(case: Case) -> str | No:
    situation = case.situation
    if situation.resolved is None or situation.last_seen_at is None:
        return No(Reason.STATE_UNKNOWN, "it is not known whether the alert still fires")
    if situation.resolved:
        return No(Reason.RESOLVED, "Alertmanager says that it is over")
    age = case.now - situation.last_seen_at
    if age > situation.gap_s:
        return No(Reason.STALE, f"it was last seen firing {age:.0f} s ago")
    return f"last seen firing {max(0.0, age):.1f} s ago"


def _free(case: Case) -> str | No:
    names = [name for name in (case.situation.target, case.situation.group) if name]
    for name in names:
        no = _claimable(case, name)
        if no is not None:
            return no
    return "no other run has it, no cooldown"


def _claimable(case: Case, target: str) -> No | None:
    if case.situation.claims is None:
        return No(Reason.STATE_UNKNOWN, "the claims cannot be read")
    claim = case.situation.claims.get(target)
    denial = claim.denies(case.alert.run_id, case.now) if claim else None
    if claim is None or denial is None:
        return None
    if denial is Denial.COOLDOWN:
        left = claim.cooldown_until - case.now
        return No(
            Reason.COOLDOWN,
            f"{target} was acted on by run {claim.run_id}, {left:.0f} s are left",
            claim.cooldown_until,
        )
    return No(Reason.TARGET_BUSY, f"run {claim.run_id} holds {target}")


def _proven(case: Case) -> str | No:
    situation = case.situation
    if situation.group is not None and situation.asg is None:
        return No(Reason.TARGET_UNPROVEN, f"AWS did not confirm the group {situation.group}")
    if situation.kind is TargetKind.GROUP:
        return f"AWS knows {situation.group}"
    found = situation.instance
    if found is None:
        return No(Reason.TARGET_UNPROVEN, f"AWS did not confirm {situation.target}")
    doubt = _doubt(case, found)
    return No(Reason.TARGET_UNPROVEN, doubt) if doubt else f"AWS confirms {found.id}"


def _doubt(case: Case, found: Instance) -> str | None:
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


def _verdict(case: Case) -> str | No:
    verdict = case.verdict
    if verdict is None:
        return No(Reason.VERDICT_UNDECIDED, "there is no verdict")
    reasons = "; ".join(reason.text for reason in verdict.contributions) or "no reasons given"
    match verdict.answer:
        case Answer.CONFIRMED:
            return reasons
        case Answer.REFUTED:
            return No(Reason.VERDICT_REFUTED, reasons)
        case Answer.UNDECIDED:
            return No(Reason.VERDICT_UNDECIDED, reasons)
    assert_never(verdict.answer)


def _step(case: Case) -> str | No:
    chosen = choose(case)
    return chosen if isinstance(chosen, No) else f"{chosen.step.action} on {chosen.target}"


def _step_free(case: Case) -> str | No:
    chosen = choose(case)
    if isinstance(chosen, No):
        return chosen
    return _claimable(case, chosen.target) or f"{chosen.target} may be acted on"


EARLY: tuple[tuple[str, Guard], ...] = (
    ("alert", _alert),
    ("playbook", _playbook),
    ("target", _target),
    ("switch", _switch),
    ("firing", _firing),
    ("free", _free),
)
LATE: tuple[tuple[str, Guard], ...] = (
    ("proven", _proven),
    ("verdict", _verdict),
    ("step", _step),
    ("step_free", _step_free),
)


def choose(case: Case) -> Plan | No:
    """The first step of the ladder, from the present rung on, whose condition holds."""
    playbook, situation = case.playbooks[0], case.situation
    facts = _facts(case)
    for rung, step in enumerate(playbook.steps[situation.rung :], situation.rung):
        holds = True if step.when is None else step.when.evaluate(facts)
        if holds is None:
            return No(Reason.CONDITION_UNKNOWN, f"it cannot be told whether: {step.when}")
        if holds:
            kind = CATALOG[step.action].target
            target = situation.group if kind is TargetKind.GROUP else _instance_id(situation)
            if target is None:
                return No(Reason.NO_TARGET, f"{step.action} needs a target of kind {kind}")
            return Plan(
                playbook=playbook,
                rung=rung,
                step=step,
                target=target,
                instance_id=_instance_id(situation) or "",
                group=situation.group or "",
                members=sorted(situation.asg.members) if situation.asg else (),
            )
    return No(Reason.NO_STEP, "no further step applies" if situation.rung else "no step applies")


def _instance_id(situation: Situation) -> str | None:
    return situation.target if situation.kind is TargetKind.INSTANCE else None


def _facts(case: Case) -> Facts:
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
