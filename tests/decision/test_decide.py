"""The decision: a table of snapshots, and what must be done or refused in each."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.aws.change_calendar import CalendarState
from actions.aws.groups import Group, Member
from actions.aws.host_status import HostEvent, HostStatus
from actions.aws.instances import Instance
from actions.aws.tags import OPT_IN_TAG
from actions.base import TargetKind
from actions.execution.records import Attempts, Breaker, Claim, Scope
from actions.place import HOME
from actions.reasons import Reason
from actions.refusal import RETRY_AFTER_S
from models.inference.verdict import Answer, Verdict
from receiver.controls.records import FREE
from receiver.decision.decide import decide, screen
from receiver.decision.facts import condition_facts
from receiver.decision.guards.alert import require_window
from receiver.decision.guards.base import GuardInput, Guards
from receiver.decision.model import Act, Ask, Decision, Observe, Refuse, Snapshot, Trigger
from receiver.evidence.dependencies.suspects import Suspect
from receiver.playbooks.conditions import condition
from receiver.playbooks.loader import load
from receiver.playbooks.schema import Window
from receiver.playbooks.time_intervals import Calendar, ChangeCalendars
from receiver.runs.model import RunRequest
from receiver.settings import Mode
from tests.actions import aws_contract as contract

NOW = 1_800_000_000.0
SUSPECT = Suspect(component="db", signal="latency", share=0.8)
HOST, ASG = "i-0123456789abcdef0", "web-asg"
HOSTS = (HOST, *(f"i-0123456789abcdef{number}" for number in range(1, 6)))
PLAYBOOKS = [
    playbook
    for playbook in load(Path(__file__).parents[2] / "playbooks").items
    if playbook.name == "high-cpu"
]
TRIGGER = Trigger(
    run_id="A" * 26,
    labels={"alertname": "HighCPU", "severity": "warning"},
    starts_at=NOW - 20,
    malformed=None,
)
VERDICT = Verdict(
    answer=Answer.CONFIRMED,
    score=0.9,
    confidence=None,
    model="test",
    contributions=(),
    peers=5,
    peers_moved=0,
    surging=False,
)
INSTANCE = Instance(
    id=HOST,
    state="running",
    launched_at=NOW - 9_000,
    group=ASG,
    az="us-east-1a",
    tags={OPT_IN_TAG: "true"},
)
GROUP = Group(
    name=ASG,
    minimum=4,
    maximum=12,
    desired=6,
    members={
        host: Member(
            id=host, az=f"us-east-1{zone}", lifecycle="InService", healthy=True, version="1"
        )
        for host, zone in zip(HOSTS, "abcabc", strict=True)
    },
    tags={OPT_IN_TAG: "true"},
)
SCOPE = Scope(name="group web-asg", members=frozenset(HOSTS), out=frozenset(), limit=1, floor=4)
_NONE = Attempts(target_hour=0, target_day=0, group_hour=0, playbook_hour=0)
SOUND = HostStatus(id=HOST, system="ok", instance="ok", ebs="ok")
SNAPSHOT = Snapshot(
    mode=Mode.AUTO,
    paused=False,
    resolved=False,
    last_seen_at=NOW - 1,
    gap_s=360,
    target=HOST,
    kind=TargetKind.INSTANCE,
    group=ASG,
    claims={},
    overrides=(),
    attempts={HOST: _NONE, ASG: _NONE},
    breaker=Breaker(playbook="high-cpu"),
    arming=FREE,
    recent_actions=(),
    alerting=frozenset({HOST}),
    reserved={},
    instance=INSTANCE,
    asg=GROUP,
    scopes=(SCOPE,),
    changes=(),
    protected=False,
    host=SOUND,
)
WINDOW: Guards = (("window", require_window),)
REQUEST = RunRequest(
    by="alice", role="operator", comment="now", playbook="high-cpu", target=HOST, dry_run=False
)
INPUTS = GuardInput(
    trigger=TRIGGER, verdict=VERDICT, playbooks=PLAYBOOKS, snapshot=SNAPSHOT, now=NOW
)


def _claim(target: str, *, held: bool, left_s: float, run_id: str = "B" * 26) -> dict[str, Claim]:
    claim = Claim(
        place=HOME, target=target, run_id=run_id, fence=1, cooldown_until=NOW + left_s, held=held
    )
    return {target: claim}


def _decided(**changes: Any) -> Decision:
    return decide(replace(INPUTS, snapshot=replace(SNAPSHOT, **changes)))


@pytest.mark.parametrize(("state", "meaning"), contract.LIFECYCLE.items())
def test_a_member_that_does_not_serve_is_being_changed(
    state: str, meaning: contract.Lifecycle
) -> None:
    """By others, unless the run itself moved it there."""
    members = {**GROUP.members, HOST: replace(GROUP.members[HOST], lifecycle=state)}
    asg = replace(GROUP, members=members)
    serves = meaning is contract.Lifecycle.SERVES
    for moved, refused in (frozenset(), not serves), (frozenset({state}), False):
        decision = _decided(asg=asg, moved=moved)
        assert (getattr(decision, "reason", None) is Reason.CHANGE_IN_PROGRESS) is refused


@pytest.mark.parametrize(
    ("action", "suspended", "refused"),
    [
        ("reboot_instance", set(), True),
        ("replace_instance", set(), True),
        ("enter_standby", set(), False),
        ("reboot_instance", {"ReplaceUnhealthy"}, False),
        ("reboot_instance", {"Terminate"}, False),
        ("reboot_instance", {"HealthCheck"}, True),
    ],
)
def test_a_member_that_its_group_replaces_is_being_changed(
    tmp_path: Path, action: str, suspended: set[str], *, refused: bool
) -> None:
    """It is marked Unhealthy; a step that takes it out of the group's hands may still save it."""
    (tmp_path / "one.yaml").write_text(
        "name: one\ndescription: One step.\nmatch: ['alertname=\"HighCPU\"']\nmode: auto\n"
        f"steps: [{{action: {action}}}]\nverify: {{expr: up == bool 1}}\n"
    )
    members = {**GROUP.members, HOST: replace(GROUP.members[HOST], healthy=False)}
    group = replace(GROUP, members=members, suspended=frozenset(suspended))
    playbooks = load(tmp_path).items
    inputs = replace(INPUTS, playbooks=playbooks, snapshot=replace(SNAPSHOT, asg=group))
    decision = decide(inputs)
    assert (getattr(decision, "reason", None) is Reason.CHANGE_IN_PROGRESS) is refused, decision


@pytest.mark.parametrize(
    ("suspended", "lent", "refused"),
    [
        ({"Launch", "Terminate", "AZRebalance"}, set(), True),
        ({"Launch", "Terminate"}, {"AZRebalance"}, True),
        ({"Launch", "Terminate"}, {"Launch", "Terminate"}, False),
        ({"Launch"}, set(), False),
        ({"Terminate"}, set(), False),
    ],
)
def test_a_group_that_others_keep_as_it_is_counts_as_changing(
    suspended: set[str], lent: set[str], *, refused: bool
) -> None:
    """What the run itself lent is no doing of others; AWS itself suspends Launch on failures."""
    group = replace(GROUP, suspended=frozenset(suspended))
    decision = _decided(asg=group, lent=frozenset(lent))
    assert (getattr(decision, "reason", None) is Reason.CHANGE_IN_PROGRESS) is refused


def test_a_ladder_goes_on_by_the_playbook_that_it_began_with() -> None:
    """The numbers of another version's rungs mean other steps."""
    for digest, expected in ((PLAYBOOKS[0].digest, Act), ("0" * 64, Refuse), (None, Act)):
        trigger = replace(TRIGGER, playbook_digest=digest)
        decision = decide(replace(INPUTS, trigger=trigger))
        assert isinstance(decision, expected), decision
        if isinstance(decision, Refuse):
            assert decision.reason is Reason.PLAYBOOK_CHANGED


def test_one_host_that_stands_out_is_rebooted() -> None:
    """Confirmed, and its siblings did not move."""
    decision = _decided()
    assert isinstance(decision, Act)
    assert (decision.plan.step.action, decision.plan.target) == ("reboot_instance", HOST)
    assert all(gate.passed for gate in decision.gates)


def test_a_group_that_surges_is_scaled_and_nobody_rebooted() -> None:
    """The same alert on the same host, in another picture."""
    verdict = replace(VERDICT, surging=True, peers_moved=5)
    decision = decide(replace(INPUTS, verdict=verdict))
    assert isinstance(decision, Act)
    assert (decision.plan.step.action, decision.plan.target) == ("set_desired_capacity", ASG)


def test_a_groups_cooldown_spares_the_group_and_not_its_members() -> None:
    """Just scaled, it is not scaled again; a member that hangs is still helped."""
    cooling = replace(SNAPSHOT, claims=_claim(ASG, held=False, left_s=9))
    assert isinstance(decide(replace(INPUTS, snapshot=cooling)), Act)
    surging = decide(replace(INPUTS, snapshot=cooling, verdict=replace(VERDICT, surging=True)))
    assert isinstance(surging, Refuse)
    assert surging.reason is Reason.COOLDOWN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"paused": True}, Reason.PAUSED),
        ({"paused": None}, Reason.STATE_UNKNOWN),
        ({"resolved": True}, Reason.VERDICT_UNDECIDED),
        ({"resolved": None}, Reason.STATE_UNKNOWN),
        ({"last_seen_at": None}, Reason.STATE_UNKNOWN),
        ({"last_seen_at": NOW - 361}, Reason.STALE),
        ({"target": None, "kind": None}, Reason.NO_TARGET),
        ({"claims": None}, Reason.STATE_UNKNOWN),
        ({"claims": _claim(HOST, held=True, left_s=-9)}, Reason.TARGET_BUSY),
        ({"claims": _claim(HOST, held=False, left_s=1)}, Reason.COOLDOWN),
        ({"claims": _claim(ASG, held=True, left_s=-9)}, Reason.TARGET_BUSY),
        ({"instance": None}, Reason.TARGET_UNPROVEN),
        (
            {"instance": None, "unread": ["DescribeInstances: ExpiredToken"]},
            Reason.STATE_UNKNOWN,
        ),
        ({"asg": None}, Reason.TARGET_UNPROVEN),
        ({"instance": replace(INSTANCE, state="stopped")}, Reason.TARGET_UNPROVEN),
        ({"instance": replace(INSTANCE, launched_at=NOW - 1)}, Reason.TARGET_UNPROVEN),
        ({"instance": replace(INSTANCE, group="api-asg")}, Reason.TARGET_UNPROVEN),
        ({"instance": replace(INSTANCE, group=None)}, Reason.TARGET_UNPROVEN),
        ({"instance": replace(INSTANCE, tags={})}, Reason.TARGET_UNPROVEN),
        ({"instance": replace(INSTANCE, tags={OPT_IN_TAG: "false"})}, Reason.TARGET_UNPROVEN),
        ({"rung": 3}, Reason.NO_STEP),
        ({"host": None}, Reason.STATE_UNKNOWN),
        ({"host": replace(SOUND, system="impaired")}, Reason.HARDWARE_FAILED),
        ({"host": replace(SOUND, ebs="impaired")}, Reason.HARDWARE_FAILED),
        ({"suspects": (SUSPECT,)}, Reason.CAUSE_ELSEWHERE),
        ({"suspects": None}, Reason.CONDITION_UNKNOWN),
    ],
)
def test_whatever_speaks_against_it_refuses_by_name(
    changes: dict[str, Any], reason: Reason
) -> None:
    """Each guard, also where what it needs is not known."""
    decision = _decided(**changes)
    assert isinstance(decision, Refuse)
    assert decision.reason is reason
    assert [gate.passed for gate in decision.gates][-1] is False
    assert decision.gates[-1].detail == decision.detail


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (None, Reason.VERDICT_UNDECIDED),
        (replace(VERDICT, answer=Answer.UNDECIDED), Reason.VERDICT_UNDECIDED),
        (replace(VERDICT, answer=Answer.REFUTED), Reason.VERDICT_REFUTED),
        (replace(VERDICT, surging=None), Reason.CONDITION_UNKNOWN),
    ],
)
def test_without_a_clear_verdict_nothing_is_done(verdict: Verdict | None, reason: Reason) -> None:
    """Also where it is not known whether the group surges."""
    decision = decide(replace(INPUTS, verdict=verdict))
    assert isinstance(decision, Refuse)
    assert decision.reason is reason


def test_failed_hardware_is_replaced_and_not_rebooted() -> None:
    """A reboot stays on the host: the refusal says what would help, and other steps may follow."""
    host = replace(SOUND, system="impaired", instance="impaired")
    rebooting = _decided(host=host)
    assert isinstance(rebooting, Refuse)
    assert "stop and start it, or replace it" in rebooting.detail
    replacing = _decided(host=host, rung=2)
    assert isinstance(replacing, Act)
    assert replacing.plan.step.action == "replace_instance"


@pytest.mark.parametrize("check", ["initializing", "insufficient-data", "not-applicable"])
def test_a_check_without_a_result_is_no_failure(check: str) -> None:
    """EC2 has found nothing wrong."""
    assert isinstance(_decided(host=replace(SOUND, system=check, ebs=check)), Act)


def test_a_condition_reads_what_ec2_says_of_the_host() -> None:
    """An event is infinitely far without one, and unknown where EC2 did not answer."""
    far = condition("target.event_in_s > 3600 and target.event == ''")
    near = condition("target.event_in_s < 3600 and target.event == 'instance-retirement'")
    event = HostEvent(code="instance-retirement", at=NOW + 600)
    for host, answers in (
        (SOUND, (True, False)),
        (replace(SOUND, events=[event]), (False, True)),
        (None, (None, None)),
    ):
        facts = condition_facts(replace(INPUTS, snapshot=replace(SNAPSHOT, host=host)))
        assert (far.evaluate(facts), near.evaluate(facts)) == answers


def _at(text: str) -> float:
    return datetime.fromisoformat(f"{text}:00+00:00").timestamp()


@pytest.mark.parametrize(
    ("now", "opens_at"),
    [
        ("2027-01-16 02:30", "2027-01-16 02:30"),  # a Saturday
        ("2027-01-16 04:59", "2027-01-16 04:59"),
        ("2027-01-16 05:00", "2027-01-17 02:00"),
        ("2027-01-17 05:00", "2027-01-23 02:00"),
        ("2027-01-15 02:30", "2027-01-16 02:00"),
    ],
)
def test_a_run_begins_in_its_window(now: str, opens_at: str) -> None:
    """What comes at another time waits; what has begun, or a person requests, goes on."""
    window = Window(weekdays=["saturday", "sunday"], start_time="02:00", end_time="05:00")
    playbook = PLAYBOOKS[0].model_copy(update={"window": window})
    trigger = replace(TRIGGER, starts_at=_at(now) - 20)
    waiting = replace(INPUTS, playbooks=[playbook], now=_at(now), trigger=trigger)
    waits = [screen(waiting, WINDOW)]
    for changes in ({"request": REQUEST}, {"playbook_digest": playbook.digest}):
        asked = replace(waiting, trigger=replace(trigger, **changes))
        assert screen(asked, WINDOW) is None
    if now == opens_at:
        assert waits == [None]
    else:
        (refusal,) = waits
        assert refusal is not None
        assert refusal.reason is Reason.OUTSIDE_WINDOW
        assert refusal.retry_at == _at(opens_at)


@pytest.mark.parametrize(
    ("years", "location", "retry_at"),
    [
        ("2027", "Asia/Tokyo", "2027-01-15 17:00"),
        ("2027", "America/New_York", "2027-01-16 07:00"),
        ("2020", "UTC", None),
    ],
)
def test_a_window_of_time_intervals_opens_by_the_clock_of_its_zone(
    years: str, location: str, retry_at: str | None
) -> None:
    """At two o'clock there; of one that is over for good no time is told."""
    night = {"times": [{"start_time": "02:00", "end_time": "05:00"}], "location": location}
    window = Calendar.model_validate({"time_intervals": [night | {"years": [years]}]})
    playbook = PLAYBOOKS[0].model_copy(update={"window": window})
    now = _at("2027-01-15 12:00")
    refusal = screen(replace(INPUTS, playbooks=[playbook], now=now), WINDOW)
    assert refusal is not None
    assert refusal.reason is Reason.OUTSIDE_WINDOW
    if retry_at is None:
        assert "does not open any more" in refusal.detail
    else:
        assert refusal.retry_at == _at(retry_at)
        open_now = replace(INPUTS, playbooks=[playbook], now=_at(retry_at))
        assert screen(open_now, WINDOW) is None


def test_a_window_of_change_calendars_is_open_where_aws_says_so() -> None:
    """Closed until it changes; what AWS does not tell is closed, and its error is named."""
    window = ChangeCalendars(change_calendars=["holidays", "business"])
    playbook = PLAYBOOKS[0].model_copy(update={"window": window})
    waiting = replace(INPUTS, playbooks=[playbook])
    told = [
        CalendarState(open=True, changes_at=NOW + 60),
        CalendarState(open=False, changes_at=NOW + 600),
        CalendarState(open=False),
        None,
    ]
    opened, *closed = [
        screen(
            replace(
                waiting,
                snapshot=replace(
                    waiting.snapshot,
                    calendar=state,
                    calendar_error="" if state else "GetCalendarState: InvalidDocument",
                ),
            ),
            WINDOW,
        )
        for state in told
    ]
    assert opened is None
    # Where AWS tells no time, it is asked again after a minute.
    retries = [refusal and refusal.retry_at for refusal in closed]
    assert retries == [NOW + 600, NOW + 60, NOW + 60]
    assert all(refusal and refusal.reason is Reason.OUTSIDE_WINDOW for refusal in closed)
    unknown = closed[-1]
    assert unknown is not None
    assert "holidays and business is unknown" in unknown.detail
    assert "InvalidDocument" in unknown.detail


@pytest.mark.parametrize(
    ("answer", "fires", "reason"),
    [
        (Answer.REFUTED, False, Reason.RESOLVED),
        (Answer.REFUTED, True, Reason.VERDICT_REFUTED),
        (Answer.UNDECIDED, False, Reason.VERDICT_UNDECIDED),
        (Answer.CONFIRMED, False, Reason.VERDICT_UNDECIDED),
        (Answer.CONFIRMED, True, None),
    ],
)
def test_a_report_of_the_end_is_believed_with_the_metrics_only(
    answer: Answer, reason: Reason | None, *, fires: bool
) -> None:
    """No run is resolved while metrics show the fault, and none acts on a fault that is over."""
    snapshot = replace(SNAPSHOT, resolved=True, fires=fires)
    verdict = replace(VERDICT, answer=answer)
    decision = decide(replace(INPUTS, snapshot=snapshot, verdict=verdict))
    assert (decision.reason if isinstance(decision, Refuse) else None) is reason


def test_no_playbook_and_two_playbooks_are_refused() -> None:
    """Nothing is guessed."""
    for playbooks, reason in (([], Reason.NO_PLAYBOOK), ([*PLAYBOOKS] * 2, "ambiguous_playbook")):
        decision = decide(replace(INPUTS, playbooks=playbooks))
        assert isinstance(decision, Refuse)
        assert decision.reason == reason


def test_a_malformed_alert_is_refused_before_anything_else() -> None:
    """Whatever its labels say."""
    decision = decide(replace(INPUTS, trigger=replace(TRIGGER, malformed="no text")))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.MALFORMED_ALERT


@pytest.mark.parametrize(("mode", "becomes"), [(Mode.OBSERVE, Observe), (Mode.APPROVE, Ask)])
def test_an_unarmed_service_or_playbook_does_not_act(mode: Mode, becomes: type) -> None:
    """The weaker of the two modes counts."""
    assert isinstance(_decided(mode=mode), becomes)
    unarmed = [playbook.model_copy(update={"mode": mode}) for playbook in PLAYBOOKS]
    assert isinstance(decide(replace(INPUTS, playbooks=unarmed)), becomes)


def test_its_own_claim_does_not_stop_a_run() -> None:
    """The next step of a run may act on the target that it holds."""
    own = _claim(HOST, held=True, left_s=300, run_id=TRIGGER.run_id)
    assert isinstance(_decided(claims=own), Act)


def test_a_refusal_that_time_may_lift_says_when() -> None:
    """A cooldown's end, or a minute; never for what stays as it is."""
    cooling = _decided(claims=_claim(HOST, held=False, left_s=200))
    paused, lost = _decided(paused=True), _decided(target=None, kind=None)
    assert isinstance(cooling, Refuse)
    assert isinstance(paused, Refuse)
    assert isinstance(lost, Refuse)
    assert cooling.retry_at == NOW + 200
    assert paused.retry_at == NOW + RETRY_AFTER_S
    assert lost.retry_at is None


_UNKNOWABLE = (
    "overrides",
    "attempts",
    "breaker",
    "recent_actions",
    "alerting",
    "reserved",
    "scopes",
    "changes",
    "host",
    "paused",
    "resolved",
    "last_seen_at",
    "target",
    "claims",
    "instance",
    "asg",
)


@given(st.sets(st.sampled_from(_UNKNOWABLE), min_size=1), st.sampled_from(list(Answer)))
def test_whatever_is_unknown_nothing_is_done(unknown: set[str], answer: Answer) -> None:
    """Any combination of unknowns, with any verdict, refuses."""
    verdict = replace(VERDICT, answer=answer)
    lost: dict[str, Any] = dict.fromkeys(unknown)
    inputs = replace(INPUTS, verdict=verdict, snapshot=replace(SNAPSHOT, **lost))
    assert isinstance(decide(inputs), Refuse)


@given(
    st.fixed_dictionaries(
        {
            "paused": st.sampled_from([True, False, None]),
            "resolved": st.sampled_from([True, False, None]),
            "claims": st.sampled_from([{}, None, _claim(HOST, held=True, left_s=1)]),
            "instance": st.sampled_from([INSTANCE, None]),
            "asg": st.sampled_from([GROUP, None]),
        }
    )
)
def test_what_the_early_guards_refuse_the_whole_row_refuses_alike(changes: dict[str, Any]) -> None:
    """Screening spares work and changes nothing."""
    inputs = replace(INPUTS, snapshot=replace(SNAPSHOT, **changes))
    early = screen(inputs)
    if early is not None:
        assert decide(inputs) == early


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        (("2", "2", "1", "1", "1", "1"), None),
        (("2", "2", "2", "1", "1", "1"), Reason.NO_STEP),
        ((None, None, "1", "1", "1", "1"), Reason.CONDITION_UNKNOWN),
        (("2", "2", None, "1", "1", "1"), Reason.CONDITION_UNKNOWN),
        ((None,) * 6, Reason.NO_STEP),
    ],
)
def test_a_version_that_is_unknown_is_not_one_in_common(
    versions: tuple[str | None, ...], reason: Reason | None
) -> None:
    """Two of six alert; a group without any version has none in common."""
    members = {
        host: replace(member, version=version)
        for (host, member), version in zip(GROUP.members.items(), versions, strict=True)
    }
    step = PLAYBOOKS[0].steps[1].model_copy(update={"when": condition("group.one_version")})
    playbook = PLAYBOOKS[0].model_copy(update={"steps": [step]})
    decision = decide(
        replace(
            INPUTS,
            playbooks=(playbook,),
            snapshot=replace(
                SNAPSHOT,
                alerting=frozenset(HOSTS[:2]),
                asg=replace(GROUP, members=members),
            ),
        )
    )
    assert getattr(decision, "reason", None) is reason


def test_the_same_version_of_two_templates_is_not_one_in_common() -> None:
    """A group of mixed instances has a template for each type, with versions of its own."""
    templates = {host: "lt-2" if host in HOSTS[:2] else "lt-1" for host in HOSTS}
    members = {
        host: replace(member, version="2", template=templates[host])
        for host, member in GROUP.members.items()
    }
    step = PLAYBOOKS[0].steps[1].model_copy(update={"when": condition("group.one_version")})
    snapshot = replace(SNAPSHOT, alerting=frozenset(HOSTS[:2]), asg=replace(GROUP, members=members))
    playbook = PLAYBOOKS[0].model_copy(update={"steps": [step]})
    decision = decide(replace(INPUTS, playbooks=(playbook,), snapshot=snapshot))
    assert isinstance(decision, Act)


@pytest.mark.parametrize("label", ["alarm_arn", "grafana_folder"])
@pytest.mark.parametrize(("age_s", "stale"), [(361, False), (2_160, False), (2_161, True)])
def test_who_tells_an_end_and_repeats_nothing_waits_for_a_person(
    label: str, age_s: float, *, stale: bool
) -> None:
    """As long as the approval lasts; no Alertmanager can be asked for the alert."""
    trigger = replace(TRIGGER, labels={**TRIGGER.labels, label: "x"})
    snapshot = replace(SNAPSHOT, last_seen_at=NOW - age_s)
    decision = decide(replace(INPUTS, trigger=trigger, snapshot=snapshot))
    assert (isinstance(decision, Refuse) and decision.reason is Reason.STALE) is stale


def test_a_target_group_that_aws_does_not_know_is_named() -> None:
    """What takes nobody out of service does not need it."""
    decision = _decided(scopes=None, unread_health=["arn:1"])
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.STATE_UNKNOWN
    assert "arn:1" in decision.detail
