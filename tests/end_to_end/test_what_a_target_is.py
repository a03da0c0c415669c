"""Forged alerts: the target's state in AWS and Prometheus decides, not the alert's words."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demo.aws.world import ACCOUNT, AwsError, Instance
from models.inference.verdict import Answer
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import State
from receiver.settings import Mode
from tests.end_to_end.whole_fixtures import PLAYBOOK, Whole, verdict


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()


def _set_override(whole: Whole, *matchers: str, effect: Effect = Effect.HOLD) -> None:
    override = Override(
        id="0" * 26,
        matchers=[parse(matcher) for matcher in matchers],
        effect=effect,
        starts_at=whole.now,
        ends_at=whole.now + 600,
        created_by="alice",
        comment="forensics",
    )
    with whole.state.write() as connection:
        overrides.add(connection, override, whole.now)


@pytest.mark.parametrize("effect", [Effect.HOLD, Effect.OBSERVE])
@pytest.mark.parametrize(
    "matchers",
    [
        ['instance_id="i-00000000000000000"'],
        ['asg="web-asg"'],
        ['az="us-east-1a"'],
        ['region="us-east-1"'],
        [f'account="{ACCOUNT}"'],
        ['tag_Team=~"data|web"'],
        ['tag_owner_of_it="bob"'],
        ['asg="web-asg"', 'alertname="HighCPU"'],
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after the decision"])
def test_an_override_of_what_a_host_is_applies_to_an_alert_that_names_its_address(
    whole: Whole, matchers: list[str], effect: Effect, *, late: bool
) -> None:
    """With a group that is empty, so that nothing of the labels names what is held."""
    _try_override(whole, matchers, effect, late=late)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after the decision"])
def test_an_override_may_ask_for_an_approval(whole: Whole, *, late: bool) -> None:
    """What was decided without it is refused right before the call."""
    _try_override(whole, ['asg="web-asg"'], Effect.ASK, late=late)


def _try_override(whole: Whole, matchers: list[str], effect: Effect, *, late: bool) -> None:
    whole.group()
    host = whole.aws.world.instances["i-00000000000000000"]
    host.tags |= {"Team": "data", "owner of/it": "bob"}
    if not late:
        _set_override(whole, *matchers, effect=effect)
    labels = {"alertname": "HighCPU", "instance": f"{host.address}:9100", "asg": ""}
    whole.deliver_labels(labels)
    if late:
        whole.dispatcher.dispatch()
        _set_override(whole, *matchers, effect=effect)
    whole.pass_time(30)
    assert whole.aws.calls == []
    assert whole.only().target == host.id
    in_time = {Effect.OBSERVE: State.OBSERVED, Effect.ASK: State.AWAITING_APPROVAL}
    assert whole.only().state is (State.REFUSED if late else in_time.get(effect, State.REFUSED))


@pytest.mark.parametrize("group", ["", "web-asg"])
def test_an_address_that_aws_did_not_resolve_is_asked_for_again(whole: Whole, group: str) -> None:
    """It is no alert about the group, and none without a target: both would never be retried."""
    whole.group()
    host = whole.aws.world.instances["i-00000000000000000"]
    labels = {"alertname": "HighCPU", "instance": f"{host.address}:9100", "asg": group}

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("DescribeInstances", "before"):
            raise AwsError("RequestLimitExceeded", status=503)

    whole.aws.trouble = trouble
    whole.deliver_labels(labels)
    whole.work()
    run = whole.only()
    assert (run.refusal, run.outcome) == (
        "state_unknown",
        "AWS did not answer DescribeInstances: RequestLimitExceeded",
    )
    whole.aws.trouble = lambda *_: None
    whole.now += 120
    whole.deliver_labels(labels)
    whole.work()
    assert whole.runs()[0].target == host.id
    assert [call.operation for call in whole.aws.calls] == ["RebootInstances"]


def test_an_override_of_all_but_one_host_spares_that_host(whole: Whole) -> None:
    """Also where its alert does not name it."""
    whole.group()
    _set_override(whole, 'instance_id!="i-00000000000000001"')
    whole.deliver_labels({"alertname": "HighCPU", "instance": "10.0.0.1:9100"})
    whole.pass_time(1)
    assert whole.aws.calls == []
    whole.deliver_labels({"alertname": "HighCPU", "instance": "10.0.0.2:9100"})
    whole.pass_time(1)
    assert [call.target for call in whole.aws.calls] == ["i-00000000000000001"]


_SHRINKS = "steps: [{action: scale_in, params: {desired: '-1'}}]\n"
_GROWS = "steps: [{action: set_desired_capacity, params: {desired: '+1'}}]\n"


@pytest.mark.parametrize("late", [False, True], ids=["before", "after the decision"])
@pytest.mark.parametrize(
    ("step", "matchers", "acts"),
    [
        (_SHRINKS, ['instance_id="i-00000000000000005"'], False),
        (_SHRINKS, ['az="us-east-1b"'], False),
        (_SHRINKS, ['instance_id="i-00000000000000005"', 'asg="web-asg"'], False),
        (_SHRINKS, ['instance_id="i-000000000000000ff"'], True),
        (_SHRINKS, ['instance_id="i-00000000000000005"', 'asg="api-asg"'], True),
        (_GROWS, ['instance_id="i-00000000000000005"'], True),
    ],
)
def test_a_hold_on_a_member_stops_steps_that_may_remove_it(
    tmp_path: Path, step: str, matchers: list[str], *, acts: bool, late: bool
) -> None:
    """The group chooses which instance to terminate; a step that only adds one may go on."""
    whole = Whole(tmp_path, playbook=PLAYBOOK.split("steps:")[0] + step)
    target = whole.group()[0]
    if not late:
        _set_override(whole, *matchers)
    whole.deliver(target)
    if late:
        whole.dispatcher.dispatch()
        _set_override(whole, *matchers)
    whole.pass_time(10)
    assert bool(whole.aws.calls) is acts
    assert acts or whole.only().refusal == "override_hold"
    whole.close()


def test_an_override_of_a_member_limits_such_a_step_to_observe(tmp_path: Path) -> None:
    """As one of the target does."""
    whole = Whole(tmp_path, playbook=PLAYBOOK.split("steps:")[0] + _SHRINKS)
    target = whole.group()[0]
    _set_override(whole, 'instance_id="i-00000000000000005"', effect=Effect.OBSERVE)
    whole.deliver(target)
    whole.pass_time(10)
    assert whole.aws.calls == []
    assert whole.only().state is State.OBSERVED
    whole.close()


_UNVERIFIED = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps: [{action: restart_service, params: {service: app}}]
"""
_STORMY = PLAYBOOK.replace("reboot_instance", "reboot_instance\n    when: not group.storm").replace(
    "replace_instance", "replace_instance\n    when: not group.storm"
)


def _alert(instance_id: str, name: str = "HighCPU", **labels: str) -> dict[str, str]:
    return {"alertname": name, "instance_id": instance_id, "asg": "web-asg"} | labels


def _ghosts(whole: Whole) -> list[Mapping[str, str]]:
    del whole
    return [_alert(f"i-{0xDEAD00 + number:017x}") for number in range(3)]


def _of_another_group(whole: Whole) -> list[Mapping[str, str]]:
    return [_alert(instance_id) for instance_id in whole.group("api-asg")[:3]]


def _without_playbook(whole: Whole) -> list[Mapping[str, str]]:
    return [
        _alert(instance_id, "Chatter") for instance_id in whole.aws.world.groups["web-asg"].members
    ]


def _for_healthy_members(whole: Whole) -> list[Mapping[str, str]]:
    healthy = list(whole.aws.world.groups["web-asg"].members)[1:]
    whole.verdicts |= {instance_id: verdict(Answer.REFUTED) for instance_id in healthy}
    return [_alert(instance_id, severity="critical") for instance_id in healthy]


_UNTRUE = [_ghosts, _of_another_group, _without_playbook, _for_healthy_members]


@pytest.mark.parametrize("decided", [True, False], ids=["decided before", "still waiting"])
@pytest.mark.parametrize("untrue", _UNTRUE)
def test_alerts_that_are_not_true_freeze_nobody(
    whole: Whole, untrue: Callable[[Whole], list[Mapping[str, str]]], *, decided: bool
) -> None:
    """Three and more of them in the group of a host that does need help."""
    target = whole.group()[0]
    whole.firing = {("HighCPU", target)}
    for labels in untrue(whole):
        whole.deliver_labels(labels)
    if decided:
        whole.work()
    whole.deliver(target)
    whole.work()
    assert [(call.operation, call.target) for call in whole.aws.calls] == [
        ("RebootInstances", target)
    ]


def test_what_is_stale_freezes_nobody(whole: Whole) -> None:
    """Alerts that came while the receiver was down, and have been over for long."""
    target, *others = whole.group()
    for instance_id in others:
        whole.deliver(instance_id)
    whole.now += 400
    whole.work()
    whole.deliver(target)
    whole.work()
    assert [call.target for call in whole.aws.calls] == [target]


def test_a_storm_is_refused_as_a_storm_by_its_instances(tmp_path: Path) -> None:
    """Also where the steps' own conditions spare them: the ladder has an end for a reason."""
    whole = Whole(tmp_path, playbook=_STORMY)
    targets = whole.group()[:4]
    whole.firing = {("HighCPU", target) for target in targets}
    for target in targets:
        whole.deliver(target)
    whole.work()
    assert {run.refusal for run in whole.runs()} == {"storm"}
    named = f"4 of 6 instances of web-asg alert: {', '.join(targets)}"
    assert all(named in (run.outcome or "") for run in whole.runs())
    assert whole.aws.calls == []
    whole.close()


@pytest.mark.parametrize("known", [True, False], ids=["Alertmanager has them", "nobody has them"])
def test_a_storm_is_counted_in_a_shop_without_our_labels(tmp_path: Path, *, known: bool) -> None:
    """The alerts name addresses alone, and Prometheus has no `ALERTS`."""
    whole = Whole(tmp_path, elsewhere=True, active=[])
    hosts = [whole.aws.world.instances[target] for target in whole.group()[:4]]
    alerts = [{"alertname": "HighCPU", "instance": f"{host.address}:9100"} for host in hosts]
    whole.active = [*alerts] if known else []
    whole.deliver_labels(*alerts)
    whole.work()
    assert {run.refusal for run in whole.runs()} == {"storm"}
    assert whole.aws.calls == []
    whole.close()


def test_alerts_that_alertmanager_does_not_have_are_no_storm(tmp_path: Path) -> None:
    """One alert is true, and a forged delivery names the others."""
    whole = Whole(tmp_path, elsewhere=True)
    hosts = [whole.aws.world.instances[target] for target in whole.group()[:4]]
    alerts = [{"alertname": "HighCPU", "instance": f"{host.address}:9100"} for host in hosts]
    whole.active = [alerts[0]]
    whole.verdicts = {host.id: verdict(Answer.REFUTED) for host in hosts[1:]}
    whole.deliver_labels(*alerts)
    whole.work()
    assert [call.target for call in whole.aws.calls] == [hosts[0].id]
    whole.close()


@pytest.mark.parametrize("over", [True, False])
def test_the_end_of_an_alert_is_seen_at_alertmanager(tmp_path: Path, *, over: bool) -> None:
    """Where rules are evaluated elsewhere, and the playbook has no `verify` of its own."""
    whole = Whole(tmp_path, playbook=_UNVERIFIED, elsewhere=True)
    host = whole.aws.world.instances[whole.group()[0]]
    labels = {"alertname": "HighCPU", "instance": f"{host.address}:9100"}
    watchdog = {"alertname": "Watchdog"}
    whole.active = [labels, watchdog]
    whole.deliver_labels(labels)
    whole.pass_time(30)
    assert whole.only().state is State.VERIFYING
    if over:
        whole.active = [watchdog]
    whole.pass_time(300)
    whole.close()
    run = whole.only()
    assert run.state is (State.SUCCEEDED if over else State.FAILED)
    assert ("did not recover" in (run.outcome or "")) is not over


def test_a_report_of_the_end_does_not_end_a_storm(whole: Whole) -> None:
    """A delivery says that the alerts are resolved; Prometheus still fires them."""
    targets = whole.group()[:4]
    whole.firing = {("HighCPU", target) for target in targets}
    for firing, target in itertools.product((True, False), targets[:3]):
        whole.deliver(target, firing=firing)
    whole.deliver(targets[3])
    whole.work()
    assert whole.runs()[0].refusal == "storm"
    assert whole.aws.calls == []


def test_the_playbook_says_how_many_are_a_storm(tmp_path: Path) -> None:
    """Two of six."""
    whole = Whole(tmp_path, playbook=PLAYBOOK + "limits: {storm: {share: 30%, at_least: 2}}\n")
    for target in whole.group()[:2]:
        whole.deliver(target)
    whole.work()
    assert {run.refusal for run in whole.runs()} == {"storm"}
    whole.close()


def test_a_forged_end_stops_no_help(whole: Whole) -> None:
    """Prometheus fires the alert, and its metrics show the fault."""
    target = whole.group()[0]
    whole.firing = {("HighCPU", target)}
    whole.deliver(target)
    whole.deliver(target, firing=False)
    whole.work()
    assert [call.target for call in whole.aws.calls] == [target]


@pytest.mark.parametrize("fires", [True, False])
def test_a_forged_end_voids_no_approval(tmp_path: Path, *, fires: bool) -> None:
    """A person looked at the plan, and the metrics still show the fault."""
    whole = Whole(tmp_path, mode=Mode.APPROVE)
    target = whole.group()[0]
    whole.deliver(target)
    whole.work()
    whole.firing = {("HighCPU", target if fires else "i-0")}
    whole.deliver(target, firing=False)
    whole.now += 500
    whole.approve("alice")
    whole.work()
    assert [call.target for call in whole.aws.calls] == [target]
    whole.close()


def test_an_end_that_the_metrics_show_is_one(whole: Whole) -> None:
    """No other refusal, and nothing to come back to."""
    target = whole.group()[0]
    whole.verdicts[target] = verdict(Answer.REFUTED)
    whole.deliver(target)
    whole.deliver(target, firing=False)
    whole.work()
    assert (whole.only().state, whole.only().refusal) == (State.RESOLVED, None)


def _outside_groups(whole: Whole, size: int) -> list[str]:
    ids = [f"i-{0xA10E00 + number:017x}" for number in range(size)]
    whole.aws.world.instances |= {
        instance_id: Instance(instance_id, launched_at=whole.now - 86_400) for instance_id in ids
    }
    return ids


def _deliver_alone(whole: Whole, instance_id: str) -> None:
    whole.deliver_labels({"alertname": "HighCPU", "instance_id": instance_id})


def test_an_instance_outside_groups_is_not_taken_out(whole: Whole) -> None:
    """Nothing replaces it, and nothing serves in its place."""
    (target,) = _outside_groups(whole, 1)
    _deliver_alone(whole, target)
    whole.work()
    assert (whole.only().refusal, whole.aws.calls) == ("no_group", [])


def test_an_instance_that_leaves_its_group_after_the_decision_is_not_taken_out(
    whole: Whole,
) -> None:
    """Nothing replaces it any more."""
    target = whole.group()[0]
    whole.deliver(target)
    whole.dispatcher.dispatch()
    del whole.aws.world.groups["web-asg"].members[target]
    whole.pass_time(10)
    assert (whole.only().refusal, whole.aws.calls) == ("no_group", [])


_STANDALONE = PLAYBOOK + "standalone: true\nlimits: {storm: {share: 100%, at_least: 100}}\n"


def test_forty_alerts_outside_groups_take_out_two(tmp_path: Path) -> None:
    """A twentieth at once, whatever is a storm; the next ones when these have recovered."""
    whole = Whole(tmp_path, playbook=_STANDALONE)
    for target in _outside_groups(whole, 40):
        _deliver_alone(whole, target)
    whole.work()
    assert len(whole.aws.calls) == 2
    assert sum(run.refusal == "blast_radius" for run in whole.runs()) == 38
    assert "instances outside groups: 2 of 40" in (whole.runs()[0].outcome or "")
    whole.close()


def test_what_is_suspended_for_a_group_is_left_out_without_one(tmp_path: Path) -> None:
    """A step before the reboot is on the group: a host of none is rebooted all the same."""
    suspended = """reboot_instance
    before:
      - action: suspend_processes
        params: {processes: [HealthCheck, ReplaceUnhealthy]}"""
    playbook = _STANDALONE.replace("reboot_instance", suspended)
    whole = Whole(tmp_path, playbook=playbook)
    target, *_ = _outside_groups(whole, 20)
    _deliver_alone(whole, target)
    whole.work()
    assert [call.operation for call in whole.aws.calls] == ["RebootInstances"]
    whole.close()


def test_what_is_stopped_outside_groups_counts_as_out(tmp_path: Path) -> None:
    """One of twenty may be out, and one is."""
    whole = Whole(tmp_path, playbook=_STANDALONE)
    target, stopped, *_ = _outside_groups(whole, 20)
    whole.aws.world.instances[stopped].state = "stopped"
    _deliver_alone(whole, target)
    whole.work()
    assert (whole.only().refusal, whole.aws.calls) == ("blast_radius", [])
    whole.close()


def test_many_alerts_outside_groups_are_a_storm(tmp_path: Path) -> None:
    """A fifth of those that opted in."""
    whole = Whole(tmp_path, playbook=PLAYBOOK + "standalone: true\n")
    for target in _outside_groups(whole, 20)[:5]:
        _deliver_alone(whole, target)
    whole.work()
    assert {run.refusal for run in whole.runs()} == {"storm"}
    assert "5 of 20 instances outside groups alert" in (whole.runs()[0].outcome or "")
    whole.close()


_HEALTHY = "i-00000000000000001"
_HELD = "i-00000000000000000"
_GROUP = "web-asg"


def _labels(instance_ids: list[str], addresses: list[str]) -> st.SearchStrategy[dict[str, str]]:
    """Whatever may stand in a label, from what is true to what is not even a name."""
    odd = ["", ".*", "i-zz", 'x"} or vector(1) #', "\x00"]
    return st.fixed_dictionaries(
        {"alertname": st.sampled_from(["HighCPU", "Chatter", ""])},
        optional={
            "instance_id": st.sampled_from([*instance_ids, *odd]),
            "instance": st.sampled_from([*addresses, "8.8.8.8:9100", *odd]),
            "asg": st.sampled_from([_GROUP, "api-asg", "no-asg", *odd]),
            "az": st.sampled_from(["us-east-1c", *odd]),
            "severity": st.sampled_from(["critical", "info"]),
            "cpu": st.text(max_size=3),
        },
    )


_GHOST = "i-000000000000dead0"
_OTHERS = [*(f"i-{number:017x}" for number in (1, 2, 3, 4, 5, 100, 101, 102)), _GHOST]
_FORGED = _labels(_OTHERS, ["10.0.0.2:9100", "10.0.0.3", "10.0.1.1:9100"])
_PROPERTY = settings(max_examples=25, deadline=None)


def _fleet(folder: str, *, refuted: bool = True) -> Whole:
    """Two groups, whose instances are all well if their alerts are `refuted`."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    whole = Whole(Path(folder))
    names = [_GROUP, "api-asg", *whole.group(_GROUP), *whole.group("api-asg")]
    if refuted:
        whole.verdicts = {name: verdict(Answer.REFUTED) for name in names}
    return whole


@_PROPERTY
@given(st.lists(_labels([_HELD, *_OTHERS], ["10.0.0.1:9100"]), min_size=1, max_size=6))
def test_no_labels_have_a_healthy_host_acted_on(alerts: list[dict[str, str]]) -> None:
    """Not even if the sender has a token of the webhook."""
    with tempfile.TemporaryDirectory() as folder:
        whole = _fleet(folder)
        for labels in alerts:
            whole.deliver_labels(labels)
        whole.pass_time(60)
        assert whole.aws.calls == []
        whole.close()


@_PROPERTY
@given(
    st.lists(st.tuples(_FORGED, st.booleans()), min_size=1, max_size=6),
    st.sampled_from(["before", "at once", "after"]),
)
@example([({"alertname": "HighCPU", "asg": _GROUP, "instance_id": "no id"}, True)], "at once")
def test_no_untrue_alert_changes_the_decision_on_another_target(
    forged: list[tuple[dict[str, str], bool]], when: str
) -> None:
    """It is about an instance that is well, of another group, or does not exist."""
    decisions = []
    for alerts in ([], forged):
        with tempfile.TemporaryDirectory() as folder:
            whole = _fleet(folder)
            whole.verdicts[_HELD] = verdict()
            whole.firing = {("HighCPU", _HELD)}
            if when == "after":
                whole.deliver(_HELD)
            for labels, firing in alerts:
                whole.deliver_labels(labels, firing=firing)
            if when == "before":
                whole.work()
            if when != "after":
                whole.deliver(_HELD)
            whole.work()
            (run,) = (run for run in whole.runs() if run.target == _HELD)
            decisions.append((run.state, run.refusal, [call.operation for call in whole.aws.calls]))
            whole.close()
    assert decisions[0] == decisions[1]
    assert decisions[0][2] == ["RebootInstances"]


_FACTS = [
    *(f'instance_id="{_HELD}"', f'asg="{_GROUP}"', 'az="us-east-1a"', 'az!="us-east-1b"'),
    *(f'account="{ACCOUNT}"', 'region=~"us-.*"', 'tag_Team="data"', 'instance_id=~".+"'),
]


@_PROPERTY
@given(
    matchers=st.lists(st.sampled_from(_FACTS), min_size=1, max_size=3),
    labels=_labels([_HELD], ["10.0.0.1:9100"]),
    late=st.booleans(),
)
def test_a_hold_on_what_a_host_is_always_holds(
    matchers: list[str], labels: dict[str, str], *, late: bool
) -> None:
    """However its alert names it, and whatever else the alert says."""
    with tempfile.TemporaryDirectory() as folder:
        whole = _fleet(folder, refuted=False)
        whole.aws.world.instances[_HELD].tags["Team"] = "data"
        if not late:
            _set_override(whole, *matchers)
        whole.deliver_labels(labels)
        whole.dispatcher.dispatch()
        if late:
            _set_override(whole, *matchers)
        whole.pass_time(30)
        assert _HELD not in {call.target for call in whole.aws.calls}
        whole.close()


def test_a_query_of_an_instance_is_not_asked_of_a_group(tmp_path: Path) -> None:
    """`{instance_id=""}` would select all series without that label."""
    recheck = """recheck: ['up{instance_id="$instance_id"} == bool 0']\n"""
    for playbook in (
        PLAYBOOK + recheck,
        PLAYBOOK.replace("{expr: recovered", "{expr: $instance_id"),
    ):
        (tmp_path / str(len(playbook))).mkdir()
        whole = Whole(tmp_path / str(len(playbook)), playbook=playbook)
        whole.group()
        whole.verdicts[_GROUP] = verdict(surging=True)
        whole.deliver_labels({"alertname": "HighCPU", "asg": _GROUP})
        whole.work()
        assert (whole.only().refusal, whole.aws.calls) == ("no_target", [])
        whole.close()


def test_a_flood_of_unknown_instances_hides_no_storm(whole: Whole) -> None:
    """More of them than alerts are read, newer, and not decided on when the first host is."""
    hosts = whole.group()[:3]
    whole.firing = {("HighCPU", host) for host in hosts}
    whole.deliver_labels(*(_alert(host, severity="critical") for host in hosts))
    whole.now += 1
    ghosts = [f"i-{0xDEAD00 + number:017x}" for number in range(1001)]
    whole.deliver_labels(*(_alert(ghost, severity="info") for ghost in ghosts))
    whole.dispatcher.dispatch()
    assert whole.aws.calls == []
    of_hosts = [run for run in whole.runs() if run.target in hosts]
    assert {run.refusal for run in of_hosts} == {"storm"}
