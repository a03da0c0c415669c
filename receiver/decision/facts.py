"""The facts that the condition of a playbook's step may read."""

import math
from collections.abc import Callable

from actions.aws.groups import Group, Member
from receiver.decision.guards.base import GuardInput
from receiver.decision.model import Snapshot
from receiver.decision.versions import is_bad_version
from receiver.playbooks.conditions import (
    ChangeFacts,
    Facts,
    GroupFacts,
    RunFacts,
    TargetFacts,
    VerdictFacts,
)

# Fewer alerting instances do not prove a common zone or version.
_SEVERAL = 2


def condition_facts(inputs: GuardInput) -> Facts:
    """The facts that a step's `when` may read."""
    snapshot, verdict = inputs.snapshot, inputs.verdict
    return Facts(
        verdict=VerdictFacts(
            answer=str(verdict.answer) if verdict else None,
            score=verdict.score if verdict else None,
            confidence=verdict.confidence if verdict else None,
            kind=verdict.kind if verdict else None,
        ),
        group=_group_facts(inputs),
        target=_target_facts(inputs),
        labels=dict(inputs.trigger.labels),
        facts=dict(snapshot.facts),
        run=RunFacts(rung=snapshot.rung),
        change=ChangeFacts(minutes_ago=_minutes_since_change(inputs)),
    )


def _minutes_since_change(inputs: GuardInput) -> float | None:
    """Since the newest change that is known; infinite without one, None if records are unread."""
    snapshot = inputs.snapshot
    if snapshot.seen is None:
        return None
    if snapshot.refreshes:
        return 0.0
    # A group's first version is no change.
    known = [version.since for version in snapshot.seen] if len(snapshot.seen) > 1 else []
    if snapshot.announced is not None:
        known.append(snapshot.announced.at)
    return min((max(0.0, inputs.now - at) / 60 for at in known), default=math.inf)


def _target_facts(inputs: GuardInput) -> TargetFacts:
    snapshot = inputs.snapshot
    instance, host = snapshot.instance, snapshot.host
    event = host.events[0] if host and host.events else None
    return TargetFacts(
        id=snapshot.target,
        kind=str(snapshot.kind) if snapshot.kind else None,
        az=instance.az if instance else None,
        age_s=inputs.now - instance.launched_at if instance else None,
        state=instance.state if instance else None,
        system_check=host.system if host else None,
        instance_check=host.instance if host else None,
        ebs_check=host.ebs if host else None,
        volume_check=snapshot.volume_check,
        event=(event.code if event else "") if host else None,
        event_in_s=(event.at - inputs.now if event else math.inf) if host else None,
    )


def _group_facts(inputs: GuardInput) -> GroupFacts:
    snapshot, verdict, asg = inputs.snapshot, inputs.verdict, inputs.snapshot.asg
    alerting = snapshot.alerting_peers
    return GroupFacts(
        name=snapshot.group,
        surging=verdict.surging if verdict else None,
        peers=verdict.peers if verdict else None,
        peers_moved=verdict.peers_moved if verdict else None,
        size=len(asg.members) if asg else None,
        in_service=len(asg.in_service) if asg else None,
        desired=asg.desired if asg else None,
        min=asg.minimum if asg else None,
        max=asg.maximum if asg else None,
        alerting=len(alerting) if alerting is not None else None,
        storm=inputs.storm,
        one_zone=_in_common(asg, alerting, lambda member: member.az),
        bad_version=is_bad_version(asg, alerting, snapshot.seen),
        refresh=_refresh(snapshot),
        one_version=_in_common(asg, alerting, _version),
    )


def _version(member: Member) -> tuple[str, str] | None:
    """Members of a group of mixed instances may have the same version of different templates."""
    return None if member.version is None else (member.template, member.version)


def _refresh(snapshot: Snapshot) -> str | None:
    """The group's unfinished refresh, by whether AWS can roll it back."""
    if snapshot.refreshes is None or snapshot.asg is None:
        return None
    if not snapshot.refreshes:
        return "none"
    numbered = not (snapshot.asg.version or "$").startswith("$")
    reversible = numbered and all(refresh.reversible for refresh in snapshot.refreshes)
    return "reversible" if reversible else "irreversible"


def _in_common(
    asg: Group | None, alerting: frozenset[str] | None, of: Callable[[Member], object]
) -> bool | None:
    """Whether exactly the instances of one zone (or version) alert: several, and not all."""
    if asg is None or alerting is None:
        return None
    members = asg.members.values()
    of_alerting = {of(member) for member in members if member.id in alerting}
    of_others = {of(member) for member in members if member.id not in alerting}
    every = of_alerting | of_others
    # A group without a launch template has no versions; if only some members have none, their
    # version is unknown.
    if None in every and every != {None}:
        return None
    several = len(alerting) >= _SEVERAL
    elsewhere = bool(of_others - of_alerting) and not of_alerting & of_others
    return several and len(of_alerting) == 1 and elsewhere
