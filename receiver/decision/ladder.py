"""Which step of the ladder is next, and for whom."""

from collections.abc import Mapping
from typing import Any

from actions.aws.inventory import Group
from actions.base import TargetKind
from actions.catalog.registry import CATALOG
from actions.execution.disruption_budget import share
from actions.reasons import Reason
from receiver.decision.guards.base import Case, No
from receiver.decision.model import Plan, Situation
from receiver.playbooks.conditions import Facts, GroupFacts, RunFacts, TargetFacts, VerdictFacts
from receiver.playbooks.schema import Step

# A fifth of a group, and at least three: draino once cordoned most of a fleet that matched one
# rule (https://github.com/planetlabs/draino/issues/89).
_STORM_PERCENT, _STORM_LEAST = 20.0, 3
_SEVERAL = 2


def choose(case: Case) -> Plan | No:
    """The first step of the ladder, from the present rung on, whose condition holds."""
    playbook, situation = case.playbooks[0], case.situation
    facts = _facts(case)
    for rung, step in enumerate(playbook.steps[situation.rung :], situation.rung):
        holds = True if step.when is None else step.when.evaluate(facts)
        if holds is None:
            return No(Reason.CONDITION_UNKNOWN, f"it cannot be told whether: {step.when}")
        if holds:
            return _plan(case, rung, step)
    return No(Reason.NO_STEP, "no further step applies" if situation.rung else "no step applies")


def storm(situation: Situation) -> bool | None:
    """Whether so many of the group alert that no single instance is to be touched."""
    if situation.group is None:
        return False
    if situation.alerting is None or situation.asg is None:
        return None
    threshold = max(_STORM_LEAST, share(_STORM_PERCENT, len(situation.asg.members)))
    return len(situation.alerting) >= threshold


def _plan(case: Case, rung: int, step: Step) -> Plan | No:
    situation = case.situation
    kind = CATALOG[step.action].target
    target = {
        TargetKind.GROUP: situation.group,
        TargetKind.INSTANCE: _instance_id(situation),
        TargetKind.ANY: situation.target,
    }[kind]
    if target is None:
        return No(Reason.NO_TARGET, f"{step.action} needs a target of kind {kind}")
    return Plan(
        playbook=case.playbooks[0],
        rung=rung,
        step=step,
        target=target,
        instance_id=_instance_id(situation) or "",
        group=situation.group or "",
        members=sorted(situation.asg.members) if situation.asg else (),
        basis=_basis(situation, target),
    )


def _basis(situation: Situation, target: str) -> Mapping[str, Any]:
    """What makes the target the one that was looked at."""
    if target == situation.group and situation.asg is not None:
        asg = situation.asg
        return {"desired": asg.desired, "minimum": asg.minimum, "maximum": asg.maximum}
    if situation.instance is not None:
        found = situation.instance
        return {"launched_at": found.launched_at, "state": found.state, "group": found.group}
    return {}


def _instance_id(situation: Situation) -> str | None:
    return situation.target if situation.kind is TargetKind.INSTANCE else None


def _facts(case: Case) -> Facts:
    situation, verdict = case.situation, case.verdict
    found = situation.instance
    return Facts(
        verdict=VerdictFacts(
            answer=str(verdict.answer) if verdict else None,
            score=verdict.score if verdict else None,
            confidence=verdict.confidence if verdict else None,
            kind=verdict.kind if verdict else None,
        ),
        group=_group_facts(case),
        target=TargetFacts(
            id=situation.target,
            kind=str(situation.kind) if situation.kind else None,
            az=found.az if found else None,
            age_s=case.now - found.launched_at if found else None,
        ),
        labels=dict(case.alert.labels),
        facts=dict(situation.facts),
        run=RunFacts(rung=situation.rung),
    )


def _group_facts(case: Case) -> GroupFacts:
    situation, verdict, asg = case.situation, case.verdict, case.situation.asg
    alerting = situation.alerting
    return GroupFacts(
        name=situation.group,
        surging=verdict.surging if verdict else None,
        peers=verdict.peers if verdict else None,
        peers_moved=verdict.peers_moved if verdict else None,
        size=len(asg.members) if asg else None,
        in_service=len(asg.in_service) if asg else None,
        desired=asg.desired if asg else None,
        min=asg.minimum if asg else None,
        max=asg.maximum if asg else None,
        alerting=len(alerting) if alerting is not None else None,
        storm=storm(situation),
        one_zone=_alike(asg, alerting, "az"),
        one_version=_alike(asg, alerting, "version"),
    )


def _alike(asg: Group | None, alerting: frozenset[str] | None, name: str) -> bool | None:
    """Whether several alert, all of one zone or version, and some of another one do not."""
    if asg is None or alerting is None:
        return None
    sick = {getattr(one, name) for one in asg.members.values() if one.id in alerting}
    well = {getattr(one, name) for one in asg.members.values() if one.id not in alerting}
    several = len(alerting & asg.members.keys()) >= _SEVERAL
    return several and len(sick) == 1 and bool(well - sick) and not sick & well
