"""The guards that need AWS, and those that need the verdict as well.

What is unknown is None, and None refuses.
"""

from collections.abc import Iterator
from typing import assert_never

from actions.aws.inventory import OPT_IN_TAG, Instance
from actions.base import Impact, TargetKind
from actions.catalog.registry import CATALOG
from actions.reasons import Reason
from models.inference.verdict import Answer
from receiver.decision.guards.base import Case, Guards, No
from receiver.decision.guards.early import (
    claimable,
    echo_of,
    ladder,
    touches,
    touches_instance,
    within_rates,
)
from receiver.decision.ladder import choose, storm
from receiver.decision.model import Plan


def _proven(case: Case) -> str | No:
    situation = case.situation
    if situation.group is not None and situation.asg is None:
        return No(Reason.TARGET_UNPROVEN, f"AWS did not confirm the group {situation.group}")
    if situation.kind is TargetKind.GROUP:
        tags = situation.asg.tags if situation.asg else {}
        if tags.get(OPT_IN_TAG) != "true":
            return No(Reason.TARGET_UNPROVEN, f"{situation.group} has no tag {OPT_IN_TAG}=true")
        return f"AWS knows {situation.group}"
    found = situation.instance
    if found is None:
        return No(Reason.TARGET_UNPROVEN, f"AWS did not confirm {situation.target}")
    doubt = _doubt(case, found)
    return No(Reason.TARGET_UNPROVEN, doubt) if doubt else f"AWS confirms {found.id}"


def _doubt(case: Case, found: Instance) -> str | None:
    """Why the instance may not be the one that the alert means, or None."""
    asg = case.situation.asg
    if found.state != "running":
        return f"{found.id} is {found.state}"
    if found.launched_at > case.alert.starts_at:
        return f"{found.id} was launched after the alert began"
    if found.group != case.situation.group:
        return f"{found.id} is not in the group that the alert names"
    if asg is not None and found.id not in asg.members:
        return f"{found.id} is no member of {asg.name} any more"
    if found.tags.get(OPT_IN_TAG) != "true":
        return f"{found.id} has no tag {OPT_IN_TAG}=true"
    return None


def _member(case: Case) -> str | No:
    """What is not of the group that it names need not be asked for."""
    situation, asg = case.situation, case.situation.asg
    if asg is None:
        return No(Reason.TARGET_UNPROVEN, f"AWS did not confirm the group {situation.group}")
    if situation.kind is TargetKind.INSTANCE and situation.target not in asg.members:
        return No(Reason.TARGET_UNPROVEN, f"{situation.target} is no member of {asg.name}")
    return f"of {asg.name}"


def _newborn(case: Case) -> str | No:
    """An instance that our own scaling launched is expected to be busy at first."""
    if case.alert.asked is not None:
        return "a person asks for it"
    found = case.situation.instance
    for act in case.situation.acts or ():
        if found is not None and act.target == case.situation.group and found.launched_at > act.at:
            no = echo_of(case, act)
            if no is not None:
                return no
    return "not launched by us just now"


def _storm(case: Case) -> str | No:
    """A whole group that alerts gets no single instance touched, whatever the verdict."""
    raging = storm(case.situation)
    if raging is None:
        return No(Reason.STATE_UNKNOWN, "it is not known how much of the group alerts")
    if raging and all(touches_instance(step) for step in ladder(case)):
        return _stormy(case)
    return "a storm: no instance is touched" if raging else "no storm"


def _stormy(case: Case) -> No:
    alerting, asg = case.situation.alerting or (), case.situation.asg
    size = len(asg.members) if asg else 0
    return No(Reason.STORM, f"{len(alerting)} of {size} instances of the group alert")


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
            policy = case.playbooks[0].undecided
            if policy.reversible == policy.destructive == "refuse":
                return No(Reason.VERDICT_UNDECIDED, reasons)
            return f"undecided: {reasons}"
    assert_never(verdict.answer)


def _step(case: Case) -> str | No:
    chosen = choose(case)
    return chosen if isinstance(chosen, No) else f"{chosen.step.action} on {chosen.target}"


def _chosen(case: Case) -> Plan:
    chosen = choose(case)
    if isinstance(chosen, No):
        raise RuntimeError("the guard before this has refused it")  # noqa: TRY004 not a type
    return chosen


def _certain(case: Case) -> str | No:
    """What an undecided verdict is enough for."""
    if case.verdict is None or case.verdict.answer is not Answer.UNDECIDED:
        return "confirmed"
    plan = _chosen(case)
    policy = plan.playbook.undecided.of(CATALOG[plan.step.action].impact)
    if policy == "refuse":
        return No(Reason.VERDICT_UNDECIDED, f"undecided is not enough for {plan.step.action}")
    return f"undecided, and the playbook says: {policy}"


def _step_free(case: Case) -> str | No:
    plan = _chosen(case)
    no = claimable(case, plan.target)
    if no is None and touches(plan.step):
        answer = within_rates(case, plan.target)
        no = answer if isinstance(answer, No) else None
    return no or f"{plan.target} may be acted on"


def _step_in_storm(case: Case) -> str | No:
    if storm(case.situation) and touches_instance(_chosen(case).step):
        return _stormy(case)
    return "no instance is touched in a storm"


def _changes(case: Case) -> str | No:
    action = CATALOG[_chosen(case).step.action]
    if action.allowed_during_changes or action.impact is Impact.HARMLESS:
        return f"{action.name} may be done while others work on it"
    if case.situation.changes is None:
        return No(Reason.STATE_UNKNOWN, "AWS did not say whether others work on it")
    if case.situation.changes:
        return No(Reason.CHANGE_IN_PROGRESS, "; ".join(case.situation.changes))
    return "nobody else works on it"


def _protected(case: Case) -> str | No:
    action = CATALOG[_chosen(case).step.action]
    if action.target is not TargetKind.INSTANCE or action.impact is not Impact.DESTRUCTIVE:
        return "nothing is destroyed"
    if case.situation.protected is None:
        return No(Reason.STATE_UNKNOWN, "AWS did not say whether the instance is protected")
    if case.situation.protected:
        return No(Reason.PROTECTED, "the instance is protected from termination")
    return "not protected"


def _blast_radius(case: Case) -> str | No:
    plan, situation = _chosen(case), case.situation
    if not CATALOG[plan.step.action].removes_capacity:
        return "nothing is taken out of service"
    if situation.scopes is None or situation.reserved is None:
        return No(Reason.STATE_UNKNOWN, "it is not known how many are out of service")
    for scope in situation.scopes:
        harm = scope.harm(plan.target, situation.reserved.get(scope.name, frozenset()))
        if harm is not None:
            out = len(scope.out | situation.reserved.get(scope.name, frozenset()))
            return No(
                harm,
                f"{scope.name}: {out} of {len(scope.members)} are out or taken, "
                f"at most {scope.limit} may be, and {scope.floor} must serve",
            )
    return "enough others serve"


def asks(case: Case, plan: Plan) -> Iterator[str]:
    """Why a person must approve this step, whatever the mode."""
    action = CATALOG[plan.step.action]
    if plan.step.ask:
        yield "the step"
    if action.needs_approval:
        yield f"{action.name} itself"
    undecided = case.verdict is None or case.verdict.answer is Answer.UNDECIDED
    if undecided and plan.playbook.undecided.of(action.impact) != "act":
        yield "the undecided verdict"


KNOWN: Guards = (
    ("proven", _proven),
    ("newborn", _newborn),
    ("storm", _storm),
)
# For which the group as it was a moment ago is enough.
STORM: Guards = (("member", _member), ("storm", _storm))
LATE: Guards = (
    ("verdict", _verdict),
    ("step", _step),
    ("certain", _certain),
    ("step_free", _step_free),
    ("step_in_storm", _step_in_storm),
    ("change", _changes),
    ("protected", _protected),
    ("blast_radius", _blast_radius),
)
