"""Builds a decision's input from a playbook's test, in place of Prometheus, AWS and records."""

from collections.abc import Callable, Collection, Mapping, Sequence

from actions.aws.change_calendar import CalendarState
from actions.aws.group_activities import ActiveRefresh
from actions.aws.groups import Group, Member
from actions.aws.host_status import HostEvent, HostStatus
from actions.aws.instances import INSTANCE_ID, Instance
from actions.aws.tags import OPT_IN_TAG
from actions.base import TargetKind
from actions.execution.circuit_breakers import FAILURES
from actions.execution.disruption_budget import scopes_of
from actions.execution.records import Attempts, Bounds, Breaker, Claim
from actions.place import HOME
from models.features.evidence import Evidence, Series
from models.inference.verdict import Contribution, Verdict
from receiver.controls.records import FREE, Override
from receiver.decision.guards.base import GuardInput
from receiver.decision.model import Snapshot, Trigger
from receiver.decision.versions import SeenVersion
from receiver.evidence.roles.of_alert import roles_of_alert
from receiver.playbook_testing.cases import (
    Fleet,
    RecordsInput,
    SeriesInput,
    TestCase,
    VerdictInput,
)
from receiver.playbook_testing.series import expand
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook

Judge = Callable[[Evidence, Collection[str]], Verdict]
# Midnight of a Friday (UTC), and the time of day of a test that names none.
_DAY, _HOUR = 1_799_971_200.0, "08:00"
_ZONES, _TEMPLATE = "abc", "lt-0123456789abcdef0"


def guard_input(case: TestCase, playbooks: Playbooks, judge: Judge) -> GuardInput:
    """The whole input of a test's decision; `judge` is the model."""
    matching, now = playbooks.matching(case.alert), _now(case)
    return GuardInput(
        trigger=Trigger(run_id="0" * 26, labels=case.alert, starts_at=now - 30, malformed=None),
        verdict=_judge(case, judge, now) if case.series else _verdict(case.verdict),
        playbooks=matching,
        snapshot=_snapshot(case, matching[0] if matching else None, now),
        now=now,
    )


def _now(case: TestCase) -> float:
    hours, minutes = (case.given.time or _HOUR).split(":")
    return _DAY + 3600 * int(hours) + 60 * int(minutes)


def _verdict(verdict: VerdictInput) -> Verdict:
    return Verdict(
        answer=verdict.answer,
        score=verdict.score,
        confidence=verdict.confidence,
        kind=verdict.kind,
        model="given",
        contributions=(Contribution(role="", sigma=None, text="given by the test"),),
        peers=verdict.peers,
        peers_moved=verdict.peers_moved,
        surging=verdict.surging,
    )


def _judge(case: TestCase, judge: Judge, now: float) -> Verdict:
    metrics = case.series or SeriesInput(recent={})
    peers = [f"i-{number:017x}" for number in range(1, case.fleet.size)]
    evidence = Evidence(
        target=case.alert.get("instance_id", ""),
        at=now,
        history=_expand(metrics.history, 300, now),
        recent=_expand(metrics.recent, 15, now),
        peers={peer: _expand(metrics.peers, 30, now) for peer in peers} if metrics.peers else {},
    )
    return judge(evidence, roles_of_alert(case.alert))


def _expand(roles: Mapping[str, str], step_s: float, now: float) -> dict[str, Series]:
    return {role: expand(text, step_s=step_s, end=now) for role, text in roles.items()}


def _snapshot(case: TestCase, playbook: Playbook | None, now: float) -> Snapshot:
    records, fleet = case.given, case.fleet
    group = case.alert.get("asg") or None
    instance_id = case.alert.get("instance_id", "")
    of_instance = INSTANCE_ID.fullmatch(instance_id) is not None
    target = instance_id if of_instance else group
    asg = _group(group, fleet, instance_id) if group and fleet.known else None
    claim = Claim(
        place=HOME,
        target=target or "",
        run_id="1" * 26,
        fence=1,
        cooldown_until=now + records.cooldown_s,
        held=records.held,
    )
    attempts = Attempts(
        target_hour=records.attempts,
        target_day=records.attempts,
        group_hour=records.attempts,
        playbook_hour=records.attempts,
    )
    standalone = [] if group else _ids(fleet, instance_id)
    bounds = playbook.limits.bounds if playbook else Bounds()
    scopes = scopes_of(target or "", asg, bounds, {}) if asg else None
    return Snapshot(
        mode=records.mode,
        paused=records.paused,
        resolved=records.resolved,
        last_seen_at=now - 5,
        gap_s=360,
        target=target,
        kind=TargetKind.INSTANCE if of_instance else TargetKind.GROUP if group else None,
        group=group,
        claims={claim.target: claim},
        calendar=CalendarState(open=records.calendar == "open"),
        rung=records.rung,
        overrides=_overrides(records, now),
        attempts={name: attempts for name in (target, group) if name},
        breaker=Breaker(
            playbook=playbook.name if playbook else "",
            failures=records.failures,
            opened_at=now - 1 if records.failures >= FAILURES else None,
        ),
        arming=FREE,
        recent_actions=(),
        alerting=frozenset((list(asg.members) if asg else standalone)[: fleet.alerting]),
        reserved={},
        seen=[
            SeenVersion(
                group=group or "", template=_TEMPLATE, version=version, since=since, healthy=True
            )
            for since, version in enumerate(fleet.healthy)
        ],
        facts=case.facts,
        instance=_instance(instance_id, group, fleet, now) if of_instance and fleet.known else None,
        asg=asg,
        scopes=scopes if group else (),
        changes=fleet.changes if fleet.known else None,
        refreshes=_refreshes(group, fleet),
        protected=fleet.protected if fleet.known else None,
        host=_host(instance_id, fleet, now) if of_instance and fleet.known else None,
        volume_check=fleet.volume_check if of_instance and fleet.known else None,
        standalone=frozenset(standalone),
    )


def _refreshes(group: str | None, fleet: Fleet) -> Sequence[ActiveRefresh]:
    if fleet.refresh == "none":
        return ()
    reversible = fleet.refresh == "reversible"
    return [ActiveRefresh(group=group or "", status="InProgress", reversible=reversible)]


def _ids(fleet: Fleet, instance_id: str) -> Sequence[str]:
    others = [f"i-{number:017x}" for number in range(1, fleet.size)]
    return [instance_id or "i-00000000000000000", *others]


def _group(name: str, fleet: Fleet, instance_id: str) -> Group:
    # Members that are out come last, so that the alert's own instance serves according to AWS.
    members = {
        instance_id: Member(
            id=instance_id,
            az=(fleet.zones or [f"zone-{letter}" for letter in _ZONES])[
                number % len(fleet.zones or _ZONES)
            ],
            lifecycle="InService",
            healthy=number < fleet.size - fleet.out,
            template=_TEMPLATE,
            version=(fleet.versions or ["1"])[number % len(fleet.versions or ["1"])],
        )
        for number, instance_id in enumerate(_ids(fleet, instance_id))
    }
    return Group(
        name=name,
        minimum=fleet.min,
        maximum=fleet.max,
        desired=fleet.desired if fleet.desired is not None else fleet.size,
        members=members,
        tags={OPT_IN_TAG: "true"} if fleet.opted_in else {},
        template=_TEMPLATE,
        version=(fleet.versions or ["1"])[0],
    )


def _instance(instance_id: str, group: str | None, fleet: Fleet, now: float) -> Instance:
    return Instance(
        id=instance_id,
        state=fleet.state,
        launched_at=now - fleet.launched_ago_s,
        group=group,
        az="zone-a",
        tags={OPT_IN_TAG: "true"} if fleet.opted_in else {},
    )


def _host(instance_id: str, fleet: Fleet, now: float) -> HostStatus:
    return HostStatus(
        id=instance_id,
        system=fleet.system_check,
        instance="ok",
        ebs=fleet.ebs_check,
        events=[HostEvent(code=fleet.event, at=now + fleet.event_in_s)] if fleet.event else [],
    )


def _overrides(records: RecordsInput, now: float) -> Sequence[Override]:
    if records.override is None:
        return ()
    return (
        Override(
            id="0" * 26,
            matchers=(),
            effect=records.override,
            starts_at=now - 1,
            ends_at=now + 600,
            created_by="somebody",
            comment="given by the test",
        ),
    )
