"""A pause or an override starts nothing new; it stops no rollback, no release and no escalation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from structlog.testing import capture_logs

from actions.audit import log
from actions.catalog.registry import CATALOG
from actions.execution import claims, kill_switch, ledger
from actions.messaging import MessengerError
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole
from tests.fake_messenger import FakeMessenger

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
cooldown: 5m
steps:
  - action: reboot_instance
    before:
      - action: suspend_processes
        params: {processes: [Terminate]}
  - action: replace_instance
escalate:
  - action: notify
    params: {to: oncall, message: "$instance_id needs a person"}
verify: {expr: recovered, for: 10s, timeout: 60s}
"""
# A reboot that AWS does not report on is known to have failed only after EC2's own hard one.
_REBOOT_S = CATALOG["reboot_instance"].takes_up_to_s


@pytest.fixture
def messenger() -> FakeMessenger:
    return FakeMessenger()


@pytest.fixture
def whole(tmp_path: Path, messenger: FakeMessenger) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK, recovered="0", messenger=messenger)
    yield whole
    whole.close()


def _acting(whole: Whole) -> None:
    """Processes are suspended and the instance is rebooted; it does not recover."""
    whole.deliver(whole.group()[0])
    whole.work()
    assert _operations(whole) == ["SuspendProcesses", "RebootInstances"]


def _observe(whole: Whole) -> None:
    override = Override(
        id="0" * 26,
        matchers=[parse('asg="web-asg"')],
        effect=Effect.OBSERVE,
        starts_at=whole.now,
        ends_at=whole.now + 365 * 86_400,
        created_by="alice",
        comment="careful",
    )
    with whole.state.write() as connection:
        overrides.add(connection, override, whole.now)


def _pause(whole: Whole) -> None:
    with whole.state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="alice", comment="why", now=whole.now)


def _pause_everything(whole: Whole) -> None:
    with whole.state.write() as connection:
        kill_switch.pause_everything(connection, by="root", comment="why", now=whole.now)


def _resume(whole: Whole) -> None:
    with whole.state.write() as connection:
        kill_switch.set_paused(connection, paused=False, by="alice", comment="why", now=whole.now)


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def _escalations(whole: Whole, outcome: str) -> float | None:
    return whole.registry.get_sample_value("smartcloudops_escalations_total", {"outcome": outcome})


@pytest.mark.parametrize("stop", [_observe, _pause])
def test_a_stop_after_the_act_starts_nothing_and_releases_the_lease(
    whole: Whole, messenger: FakeMessenger, stop: Callable[[Whole], None]
) -> None:
    """The processes are resumed and people are called, though the next step may not begin."""
    _acting(whole)
    stop(whole)
    whole.pass_time(_REBOOT_S + 60)
    run = whole.only()
    assert run.state is State.FAILED, run.outcome
    assert _operations(whole) == ["SuspendProcesses", "RebootInstances", "ResumeProcesses"]
    assert [to for to, _, _ in messenger.notifications] == ["oncall"]
    assert _escalations(whole, "delivered") == 1


@pytest.mark.parametrize("stop", [_observe, _pause])
def test_a_stop_during_verification_lets_a_recovery_end_well(
    whole: Whole, messenger: FakeMessenger, stop: Callable[[Whole], None]
) -> None:
    _acting(whole)
    stop(whole)
    whole.recovered = "1"
    whole.pass_time(60)
    assert whole.only().state is State.SUCCEEDED
    assert _operations(whole)[-1] == "ResumeProcesses"
    assert messenger.notifications == []


@pytest.mark.parametrize("stop", [_observe, _pause])
def test_a_persons_rollback_is_done_under_a_stop(
    whole: Whole, stop: Callable[[Whole], None]
) -> None:
    _acting(whole)
    stop(whole)
    whole.commands.roll_back(whole.only().id, "bob", "give it back")
    whole.pass_time(10)
    assert whole.only().state is State.ROLLED_BACK
    # Until the host must have booted, its group would replace it.
    whole.pass_time(_REBOOT_S)
    assert _operations(whole)[-1] == "ResumeProcesses"


def test_a_pause_of_everything_waits_for_the_resume(whole: Whole, messenger: FakeMessenger) -> None:
    """Neither rollback nor escalation, until it is resumed: then both."""
    _acting(whole)
    _pause_everything(whole)
    # An ordinary pause does not end it.
    _pause(whole)
    whole.pass_time(_REBOOT_S + 600)
    assert whole.only().state is State.ROLLING_BACK
    assert "ResumeProcesses" not in _operations(whole)
    assert messenger.notifications == []
    _resume(whole)
    whole.pass_time(60)
    assert whole.only().state is State.FAILED
    assert _operations(whole)[-1] == "ResumeProcesses"
    assert len(messenger.notifications) == 1


def test_an_escalation_needs_no_claim(whole: Whole, messenger: FakeMessenger) -> None:
    """Another run has taken the target meanwhile: people are called all the same."""
    _acting(whole)
    run = whole.only()
    with whole.state.write() as connection:
        claims.release(connection, run.id)
        connection.exec_driver_sql("UPDATE claims SET run_id = ?, held = true", ("B" * 26,))
    _pause(whole)
    whole.pass_time(_REBOOT_S + 60)
    assert len(messenger.notifications) == 1


class _Broken(FakeMessenger):
    """Refuses the next `left` notifications."""

    left = 0

    def notify(self, to: str, title: str, text: str) -> None:
        if self.left:
            self.left -= 1
            raise MessengerError("the channel is down", sent=False)
        super().notify(to, title, text)


@pytest.mark.parametrize(
    ("failures", "passed_s", "delivered", "abandoned"), [(5, 300, 1, 0), (100, 600, 0, 1)]
)
def test_an_escalation_is_retried_for_minutes(
    tmp_path: Path, failures: int, passed_s: float, delivered: int, abandoned: int
) -> None:
    """Under a pause, too; each attempt is on record, and the run tells that nobody was reached."""
    messenger = _Broken()
    messenger.left = failures
    whole = Whole(tmp_path, playbook=_PLAYBOOK, recovered="0", messenger=messenger)
    assert [_escalations(whole, outcome) for outcome in ("delivered", "failed", "abandoned")] == [
        0,
        0,
        0,
    ]
    _acting(whole)
    _pause(whole)
    whole.pass_time(_REBOOT_S + passed_s)
    run = whole.only()
    assert run.state is State.FAILED
    assert ("notify reached nobody" in (run.outcome or "")) == bool(abandoned)
    assert len(messenger.notifications) == delivered
    assert _escalations(whole, "delivered") == delivered
    assert _escalations(whole, "abandoned") == abandoned
    assert _escalations(whole, "failed") == (5 if delivered else 7)
    # The release is not repeated with each attempt.
    assert _operations(whole).count("ResumeProcesses") == 1
    with whole.state.read() as connection:
        steps = ledger.intents_by_run(connection, [run.id])[run.id]
    attempts = [step.started_at for step in steps if step.action == "notify"]
    assert len(attempts) == (6 if delivered else 8)
    if abandoned:
        assert attempts[-1] - attempts[0] > 240
    whole.close()


def test_a_rollback_that_cannot_read_aws_silences_nobody(
    whole: Whole, messenger: FakeMessenger
) -> None:
    """After five attempts people are called, and the record names what is owed, until it is not."""
    _acting(whole)

    def trouble(operation: str, when: str) -> None:
        reading = (operation, when) == ("DescribeAutoScalingGroups", "before")
        if reading and whole.only().state is State.ROLLING_BACK:
            raise EndpointConnectionError(endpoint_url="x")

    whole.aws.trouble = trouble
    while not (run := whole.only()).state.ended:
        whole.pass_time(5)
    assert run.state is State.FAILED
    owed = "suspend_processes on web-asg is still owed: EndpointConnectionError"
    assert owed in (run.outcome or "")
    assert len(messenger.notifications) == 1
    assert _operations(whole)[-1] == "RebootInstances"
    whole.pass_time(60)
    assert _operations(whole)[-1] == "ResumeProcesses"


def test_a_person_stops_a_rollback(whole: Whole, messenger: FakeMessenger) -> None:
    """The run ends with their name, nothing more is rolled back, and it can be ordered again."""
    _acting(whole)
    _pause_everything(whole)
    whole.pass_time(_REBOOT_S + 30)
    run = whole.only()
    assert run.state is State.ROLLING_BACK
    whole.commands.cancel(run.id, "bob", "leave it")
    _resume(whole)
    whole.pass_time(120)
    run = whole.only()
    assert (run.state, run.outcome) == (
        State.CANCELLED,
        "cancelled by bob, and its rollback stopped: leave it",
    )
    assert "ResumeProcesses" not in _operations(whole)
    assert messenger.notifications == []
    whole.commands.roll_back(run.id, "bob", "after all")
    whole.pass_time(10)
    assert whole.only().state is State.ROLLED_BACK
    assert _operations(whole)[-1] == "ResumeProcesses"


def test_a_rollback_under_way_stops_before_its_next_step(whole: Whole) -> None:
    """Cancelled between two steps: the second is not claimed for a run that has ended."""
    _acting(whole)
    run = whole.only()
    whole.commands.roll_back(run.id, "bob", "give it back")
    cancelled: list[bool] = []

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("DescribeAutoScalingGroups", "before") and not cancelled:
            cancelled.append(True)
            whole.commands.cancel(run.id, "bob", "leave it")

    whole.aws.trouble = trouble
    with capture_logs() as logs:
        whole.pass_time(60)
    assert cancelled
    assert "phase_failed" not in [entry["event"] for entry in logs]
    assert whole.only().state is State.CANCELLED
    assert "ResumeProcesses" not in _operations(whole)
    with whole.state.read() as connection:
        assert not any(claim.held for claim in claims.list_active(connection, whole.now))


@pytest.mark.parametrize("command", ["cancel", "roll_back"])
def test_a_command_and_its_record_are_one_transaction(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Where the person's name cannot be recorded, the run has not moved."""
    _acting(whole)
    before = whole.only()
    append = log.append

    def broken(connection: object, now: float, *events: log.Event) -> None:
        if any(event.event.endswith("by_a_person") for event in events):
            raise RuntimeError("the disk is full")
        append(connection, now, *events)  # type: ignore[arg-type] # passed on as it came

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", broken)
        with pytest.raises(RuntimeError):
            getattr(whole.commands, command)(before.id, "bob", "why")
    assert whole.only() == before
    getattr(whole.commands, command)(before.id, "bob", "why")
    whole.work()
    with whole.state.read() as connection:
        actors = [record["actor"] for record in log.records(connection, run_id=before.id)]
    assert actors.count("bob") == 1
