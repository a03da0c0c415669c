"""What a run lends is given back, however long AWS takes, and never with harm."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from botocore.exceptions import ReadTimeoutError
from structlog.testing import capture_logs

from actions.catalog.autoscaling._processes import Process
from actions.execution import debts, kill_switch
from actions.execution.debts import Debt, DebtState
from actions.messaging import MessengerError
from demo.aws.calls import Call
from demo.aws.clients import clients
from demo.aws.hardness import Hardness, Timings
from demo.aws.world import AwsError, target_group_arn
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole
from tests.fake_messenger import FakeMessenger

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: ACTION
    before:
      - action: suspend_processes
        params: {processes: [ReplaceUnhealthy, AZRebalance]}
verify: {expr: recovered, for: 10s, timeout: 60s}
"""
_LENT = {"AZRebalance", "HealthCheck", "ReplaceUnhealthy"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A traceback for a terminal takes minutes."""
    with capture_logs():
        yield


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Whole]]:
    made: list[Whole] = []

    def make(action: str, more: str = "") -> Whole:
        whole = Whole(tmp_path, playbook=_PLAYBOOK.replace("ACTION", action) + more)
        whole.aws.core.hardness = Hardness(heals=True)
        whole.group()
        made.append(whole)
        return whole

    yield make
    for whole in made:
        whole.close()


def _suspended(whole: Whole) -> set[str]:
    return whole.aws.world.groups["web-asg"].suspended


def _first(whole: Whole) -> str:
    return next(iter(whole.aws.world.groups["web-asg"].members))


def _owed(whole: Whole) -> list[Debt]:
    with whole.state.read() as connection:
        return list(debts.list_open(connection))


def _refuse(whole: Whole, operation: str, until: float) -> None:
    def trouble(name: str, when: str) -> None:
        if (name, when) == (operation, "before") and whole.now < until:
            raise AwsError("Throttling", status=400)

    whole.aws.trouble = trouble


def test_aws_that_refuses_for_minutes_takes_back_in_the_end(make: Callable[..., Whole]) -> None:
    """The run ends meanwhile and says so; pauses and restarts change nothing about it."""
    whole = make("reboot_instance")
    _refuse(whole, "ResumeProcesses", whole.now + 300)
    whole.deliver(_first(whole))
    whole.pass_time(100)
    run = whole.only()
    assert run.state is State.SUCCEEDED
    assert "suspend_processes on web-asg is still owed: Throttling" in (run.outcome or "")
    assert [debt.state for debt in _owed(whole)] == [DebtState.DUE]
    with whole.state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="bob", comment="why", now=whole.now)
    whole.start()
    whole.pass_time(150)
    assert _suspended(whole) == _LENT
    whole.pass_time(300)
    assert (_suspended(whole), _owed(whole)) == (set(), [])


def test_a_pause_of_everything_holds_it_until_it_is_over(make: Callable[..., Whole]) -> None:
    whole = make("reboot_instance")
    _refuse(whole, "ResumeProcesses", whole.now + 90)
    whole.deliver(_first(whole))
    whole.pass_time(80)
    with whole.state.write() as connection:
        kill_switch.pause_everything(connection, by="root", comment="why", now=whole.now)
    whole.pass_time(600)
    assert (_suspended(whole), len(_owed(whole))) == (_LENT, 1)
    with whole.state.write() as connection:
        kill_switch.set_paused(connection, paused=False, by="root", comment="over", now=whole.now)
    whole.pass_time(310)
    assert (_suspended(whole), _owed(whole)) == (set(), [])


@pytest.mark.parametrize("lag_s", [0.0, 10.0])
def test_a_suspension_without_an_answer_is_owed_until_aws_says_there_is_none(
    make: Callable[..., Whole], lag_s: float
) -> None:
    """It took effect, and reads show it late: that is not "it did not happen"."""
    whole = make("reboot_instance")
    whole.aws.core.hardness = Hardness(heals=True, lag_s=lag_s)

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("SuspendProcesses", "after"):
            raise ReadTimeoutError(endpoint_url="x")

    whole.aws.trouble = trouble
    whole.deliver(_first(whole))
    whole.pass_time(200)
    assert (_suspended(whole), _owed(whole)) == (set(), [])


def test_what_never_happened_is_not_owed_for_long(make: Callable[..., Whole]) -> None:
    whole = make("reboot_instance")
    _refuse(whole, "SuspendProcesses", whole.now + 1_000)
    whole.deliver(_first(whole))
    whole.work()
    assert len(_owed(whole)) == 1
    whole.pass_time(900)
    assert _owed(whole) == []
    assert "ResumeProcesses" not in whole.aws.operations()


def test_a_stopped_member_is_not_lost_to_the_resumption(make: Callable[..., Whole]) -> None:
    """A person is asked; once the instance runs again, its group's processes are resumed."""
    whole = make("stop_instance")
    target = _first(whole)
    whole.deliver(target)
    whole.pass_time(300)
    run = whole.only()
    assert run.state is State.SUCCEEDED
    assert f"web-asg would terminate {target}" in (run.outcome or "")
    assert [debt.state for debt in _owed(whole)] == [DebtState.NEEDS_PERSON]
    assert (_suspended(whole), target in whole.aws.world.groups["web-asg"].members) == (_LENT, True)
    whole.aws.world.instances[target].state = "running"
    whole.pass_time(400)
    assert (_suspended(whole), _owed(whole)) == (set(), [])
    assert target in whole.aws.world.groups["web-asg"].members


@pytest.mark.parametrize("ours", [True, False])
def test_who_was_marked_unhealthy_meanwhile_is_not_terminated(
    make: Callable[..., Whole], *, ours: bool
) -> None:
    """Set Healthy where our reboot was the cause and it serves again; else a person is asked."""
    whole = make("reboot_instance")
    members = whole.aws.world.groups["web-asg"].members
    target, other = [*members][:2]
    whole.deliver(target)
    whole.work()
    marked = target if ours else other
    members[marked].health = "Unhealthy"
    whole.pass_time(120)
    assert whole.only().state is State.SUCCEEDED
    assert set(members) >= {target, other}
    assert ("SetInstanceHealth" in whole.aws.operations()) is ours
    assert (_suspended(whole) == set()) is ours
    if not ours:
        members[marked].health = "Healthy"
        whole.pass_time(400)
        assert (_suspended(whole), _owed(whole)) == (set(), [])


def test_nothing_is_resumed_while_a_host_may_still_boot(make: Callable[..., Whole]) -> None:
    """A person ends the run right after the reboot, which the load balancer has not noticed yet."""
    whole = make("reboot_instance")
    whole.recovered = "0"
    group, target = whole.aws.world.groups["web-asg"], _first(whole)
    group.checks, arn = "ELB", target_group_arn("web")
    whole.aws.world.attach(group, arn)
    whole.aws.world.instances[target].hung = True
    health = whole.aws.world.target_groups[arn].states
    health[target] = "healthy"
    whole.deliver(target)
    whole.work()
    whole.commands.cancel(whole.only().id, "alice", "mine")
    whole.pass_time(60)
    assert _suspended(whole) == _LENT
    health.clear()
    whole.pass_time(400)
    assert (_suspended(whole), _owed(whole)) == (set(), [])
    assert target in group.members


def test_an_instance_that_is_started_again_is_waited_for(make: Callable[..., Whole]) -> None:
    """Nobody is asked for help: it only boots."""
    whole = make("stop_instance", "rollback: true\n")
    whole.recovered = "0"
    group, target = whole.aws.world.groups["web-asg"], _first(whole)
    group.checks, arn = "ELB", target_group_arn("web")
    whole.aws.world.attach(group, arn)
    whole.aws.core.timings = Timings(start_s=60, boot_s=120)
    whole.deliver(target)
    while whole.aws.world.instances[target].state != "pending":
        whole.pass_time(5)
    states = set()
    while _owed(whole):
        states |= {debt.state for debt in _owed(whole)}
        whole.pass_time(5)
    assert DebtState.NEEDS_PERSON not in states
    assert (_suspended(whole), target in group.members) == (set(), True)


@pytest.mark.parametrize(
    ("theirs", "left"),
    [
        (["AZRebalance", "Launch"], {"AZRebalance", "Launch"}),
        (None, {*get_args(Process)}),
        (["AZRebalance"], {"AZRebalance"}),
    ],
    ids=["some of ours", "all there are", "one"],
)
def test_what_a_person_suspends_as_well_is_left_to_them(
    make: Callable[..., Whole], theirs: list[Process] | None, left: set[str]
) -> None:
    whole = make("reboot_instance")
    whole.deliver(_first(whole))
    whole.work()
    whole.now += 5
    alice = clients(whole.aws, "alice").autoscaling
    asked: Any = {} if theirs is None else {"ScalingProcesses": theirs}
    alice.suspend_processes(AutoScalingGroupName="web-asg", **asked)
    whole.pass_time(300)
    assert whole.only().state is State.SUCCEEDED
    assert (_suspended(whole), _owed(whole)) == (left, [])


@pytest.mark.parametrize(
    ("group", "before_s"), [("other-asg", 5), ("web-asg", -60)], ids=["elsewhere", "before"]
)
def test_what_others_suspended_elsewhere_or_before_holds_nothing_back(
    make: Callable[..., Whole], group: str, before_s: float
) -> None:
    whole = make("reboot_instance")
    whole.group("other-asg")
    whole.deliver(_first(whole))
    whole.work()
    whole.now += 5
    whole.aws.log.append(
        Call(
            time=whole.now + before_s,
            service="autoscaling",
            operation="SuspendProcesses",
            parameters={"AutoScalingGroupName": group, "ScalingProcesses": ["AZRebalance"]},
            key="alice",
            status=200,
        )
    )
    whole.pass_time(300)
    assert (_suspended(whole), _owed(whole)) == (set(), [])


def test_a_lease_waits_until_cloudtrail_answers_and_not_for_a_right_to_read_it(
    make: Callable[..., Whole],
) -> None:
    whole = make("reboot_instance")
    whole.deliver(_first(whole))
    whole.work()
    _refuse(whole, "LookupEvents", whole.now + 200)
    whole.pass_time(150)
    assert (_suspended(whole), len(_owed(whole))) == (_LENT, 1)

    def deny(name: str, _: str) -> None:
        if name == "LookupEvents":
            raise AwsError("AccessDeniedException")

    whole.aws.trouble = deny
    whole.pass_time(120)
    assert (_suspended(whole), _owed(whole)) == (set(), [])


def test_what_a_person_resumed_stays_as_it_is(make: Callable[..., Whole]) -> None:
    """The rest is given back, and the run has not failed."""
    whole = make("reboot_instance")
    whole.deliver(_first(whole))
    whole.work()
    _suspended(whole).discard("AZRebalance")
    _suspended(whole).add("Launch")
    whole.pass_time(60)
    assert whole.only().state is State.SUCCEEDED
    assert (_suspended(whole), _owed(whole)) == ({"Launch"}, [])
    resumed = [call for call in whole.aws.calls if call.operation == "ResumeProcesses"]
    assert [call.parameters["ScalingProcesses"] for call in resumed] == [
        ["HealthCheck", "ReplaceUnhealthy"]
    ]


def test_nothing_is_owed_to_a_group_that_is_gone(make: Callable[..., Whole]) -> None:
    whole = make("reboot_instance")
    whole.deliver(_first(whole))
    whole.work()
    group = whole.aws.world.groups.pop("web-asg")
    whole.pass_time(60)
    assert [debt.target for debt in _owed(whole)] == [group.name]
    whole.pass_time(200)
    assert _owed(whole) == []


def test_an_empty_answer_ends_no_debt(make: Callable[..., Whole]) -> None:
    """AWS shows no such group for a minute: a stale read, or another region's."""
    whole = make("reboot_instance")
    whole.deliver(_first(whole))
    whole.work()
    group = whole.aws.world.groups.pop("web-asg")
    whole.pass_time(60)
    whole.aws.world.groups["web-asg"] = group
    whole.pass_time(200)
    assert (group.suspended, _owed(whole)) == (set(), [])


def test_a_lease_whose_rollback_a_person_stopped_stays_owed(make: Callable[..., Whole]) -> None:
    """Nothing is given back against their word, nor forgotten: they can order it later."""
    whole = make("reboot_instance")
    _refuse(whole, "ResumeProcesses", whole.now + 100)
    whole.deliver(_first(whole))
    while whole.only().state is not State.ROLLING_BACK:
        whole.pass_time(1)
    whole.commands.cancel(whole.only().id, "alice", "stop it")
    whole.pass_time(600)
    (owed,) = _owed(whole)
    assert (whole.only().state, owed.state) == (State.CANCELLED, DebtState.NEEDS_PERSON)
    assert _suspended(whole) == _LENT
    whole.commands.roll_back(whole.only().id, "alice", "now")
    whole.pass_time(60)
    assert (_suspended(whole), _owed(whole)) == (set(), [])


def test_what_is_owed_waits_for_another_runs_reboot(make: Callable[..., Whole]) -> None:
    """Of a playbook that suspends nothing itself: the group would replace its host as well."""
    whole = make("reboot_instance")
    whole.aws.world.groups["web-asg"].checks = "ELB"
    arn = target_group_arn("web")
    whole.aws.world.attach(whole.aws.world.groups["web-asg"], arn)
    first, second = [*whole.aws.world.groups["web-asg"].members][:2]
    _refuse(whole, "ResumeProcesses", whole.now + 120)
    whole.deliver(first)
    whole.pass_time(100)
    plain = whole.playbook.partition("    before:")[0] + "verify: {expr: recovered, for: 10s}\n"
    (whole.folder / "playbooks" / "one.yaml").write_text(plain)
    whole.start()
    whole.recovered = "0"
    whole.deliver(second)
    whole.work()
    assert [call.target for call in whole.aws.calls][-1] == second
    whole.aws.world.target_groups[arn].states[second] = "healthy"
    whole.pass_time(100)
    assert _suspended(whole) == _LENT
    whole.aws.world.target_groups[arn].states.clear()
    whole.recovered = "1"
    whole.pass_time(300)
    assert (_suspended(whole), _owed(whole)) == (set(), [])
    assert {first, second} <= whole.aws.world.groups["web-asg"].members.keys()


def test_a_silence_that_cannot_be_ended_is_owed(tmp_path: Path) -> None:
    """Also one of which only the answer was lost."""

    class Away(FakeMessenger):
        away = False

        def expire_silence(self, silence_id: str) -> None:
            if self.away:
                raise MessengerError("Alertmanager is away", sent=False)
            super().expire_silence(silence_id)

    messenger = Away()
    lent = "create_silence\n        params: {alertnames: [InstanceDown]}"
    playbook = _PLAYBOOK.replace("ACTION", "reboot_instance").partition("suspend_processes")[0]
    playbook += lent + "\nverify: {expr: recovered, for: 10s, timeout: 60s}\n"
    whole = Whole(tmp_path, playbook=playbook, messenger=messenger)
    messenger.broken, messenger.away = MessengerError("no answer", sent=True), True
    whole.deliver(whole.group()[0])
    whole.pass_time(120)
    assert whole.only().state is State.SUCCEEDED
    assert (len(messenger.active), len(_owed(whole))) == (1, 1)
    messenger.away = False
    whole.pass_time(310)
    assert (messenger.active, _owed(whole)) == ({}, [])
    whole.close()


@pytest.mark.parametrize("rollback", [False, True])
def test_the_balance_is_given_back_with_the_member(tmp_path: Path, *, rollback: bool) -> None:
    """Without the lonely member of a zone its group would terminate another one for it."""
    playbook = _PLAYBOOK.partition("    before:")[0].replace("ACTION", "enter_standby")
    playbook += "verify: {expr: recovered, for: 10s, timeout: 60s}\n"
    recovered = "0" if rollback else "1"
    more = "rollback: true\n" if rollback else ""
    whole = Whole(tmp_path, playbook=playbook + more, recovered=recovered)
    whole.aws.core.hardness = Hardness(heals=True)
    target = whole.group(size=5)[2]
    members = whole.aws.world.groups["web-asg"].members
    whole.deliver(target)
    whole.pass_time(300)
    if not rollback:
        assert whole.only().state is State.SUCCEEDED
        assert [(debt.state, debt.action) for debt in _owed(whole)] == [
            (DebtState.NEEDS_PERSON, "suspend_processes")
        ]
        assert (_suspended(whole), members[target].lifecycle) == ({"AZRebalance"}, "Standby")
        whole.clients().autoscaling.exit_standby(
            AutoScalingGroupName="web-asg", InstanceIds=[target]
        )
        whole.pass_time(100)
    assert (_suspended(whole), _owed(whole)) == (set(), [])
    whole.pass_time(300)
    whole.aws.pass_time()
    assert (len(members), members[target].lifecycle) == (5, "InService")
    whole.close()


def test_what_a_cancelled_run_lent_stays_owed(make: Callable[..., Whole]) -> None:
    """AWS is busy while the person ends the run, and for minutes after it has ended."""
    whole = make("restart_service\n    params: {service: app}")
    whole.recovered = "0"
    _refuse(whole, "ResumeProcesses", whole.now + 400)
    whole.deliver(_first(whole))
    whole.pass_time(20)
    whole.commands.cancel(whole.only().id, "alice", "mine")
    whole.pass_time(120)
    assert whole.only().state is State.CANCELLED
    assert (_suspended(whole), len(_owed(whole))) == (_LENT, 1)
    whole.pass_time(400)
    assert (_suspended(whole), _owed(whole)) == (set(), [])
