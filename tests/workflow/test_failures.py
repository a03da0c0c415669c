"""What breaks or is lost on a run's way ends it with an explanation, and counts once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from structlog.testing import capture_logs
from structlog.typing import EventDict

from models.inference.verdict import Answer
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole, verdict
from tests.fake_messenger import FakeMessenger

_LENDING = """
    before:
      - action: suspend_processes
        params: {processes: [Terminate]}"""
_PLAYBOOK = f"""
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: set_desired_capacity
    params: {{desired: "+1"}}{_LENDING}
  - action: reboot_instance
escalate:
  - action: notify
    params: {{to: oncall, message: "$instance_id needs a person"}}
verify: {{expr: recovered, for: 10s, timeout: 60s}}
rollback: true
"""


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    """The events that are logged; a traceback for a terminal takes minutes."""
    with capture_logs() as events:
        yield events


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK, recovered="0", messenger=FakeMessenger())
    yield whole
    whole.close()


def operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


@pytest.mark.parametrize(("breaks", "state"), [(2, State.VERIFYING), (3, State.REFUSED)])
def test_a_decision_that_breaks_is_made_three_times(
    whole: Whole, breaks: int, state: State
) -> None:
    """Not at once; then the run is refused by name, and its alert may try again later."""
    host = whole.group()[0]
    whole.breaks[host] = breaks
    whole.deliver(host)
    whole.work()
    whole.work()
    assert whole.breaks[host] == breaks - 1
    assert whole.only().state is State.RECEIVED
    whole.pass_time(10)
    run = whole.only()
    assert run.state is state
    if state is State.REFUSED:
        assert (run.refusal, run.outcome) == (
            "internal_error",
            "the decision failed 3 times: ArithmeticError",
        )
        assert (run.next_act_at or 0) > whole.now


def test_an_end_that_cannot_be_stored_holds_up_no_other_run(whole: Whole) -> None:
    """It counts as a decision that failed: three times, then its own end says so."""
    held, other = whole.group()[:2]
    whole.verdicts = {host: verdict(Answer.REFUTED) for host in (held, other)}
    with whole.state.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER unstorable BEFORE UPDATE ON runs WHEN NEW.refusal = 'verdict_refuted' "
            f"AND NEW.labels LIKE '%{held}%' BEGIN SELECT RAISE(ABORT, 'unstorable'); END"
        )
    for host in (held, other):
        whole.deliver(host)
    whole.work()

    def refusals() -> dict[str, str | None]:
        return {run.labels["instance_id"]: run.refusal for run in whole.runs()}

    assert refusals() == {held: None, other: "verdict_refuted"}
    whole.pass_time(10)
    assert refusals() == {held: "internal_error", other: "verdict_refuted"}


def test_a_next_decision_that_breaks_ends_like_a_step_that_failed(whole: Whole) -> None:
    """What the steps changed is rolled back, and a person is told."""
    host = whole.group()[0]
    whole.deliver(host)
    whole.work()
    whole.breaks[host] = 3
    whole.pass_time(150)
    run = whole.only()
    assert run.state is State.ROLLED_BACK
    assert "the decision failed 3 times: ArithmeticError" in (run.outcome or "")
    group = whole.aws.world.groups["web-asg"]
    assert (group.desired, group.suspended) == (6, set())
    assert isinstance(whole.messenger, FakeMessenger)
    assert len(whole.messenger.notifications) == 1


def test_a_lost_phase_is_replaced_when_it_is_minutes_overdue(whole: Whole) -> None:
    """The queue's tables are gone: the run goes on. A phase that waits is left alone."""
    whole.deliver(whole.group()[0])
    whole.work()
    phase = whole.only().phase
    whole.now += 100
    whole.dispatcher.recover()
    assert whole.only().phase == phase
    whole.queue.waiting.clear()
    whole.now += 100
    whole.recovered = "1"
    whole.dispatcher.recover()
    whole.pass_time(30)
    assert whole.only().state is State.SUCCEEDED


def test_an_expiry_that_waits_for_its_time_is_not_lost(tmp_path: Path) -> None:
    playbook = _PLAYBOOK.replace("mode: auto", "mode: approve\napproval: 30m")
    whole = Whole(tmp_path, playbook=playbook, messenger=FakeMessenger())
    whole.deliver(whole.group()[0])
    whole.work()
    phase = whole.only().phase
    whole.now += 1_000
    whole.dispatcher.recover()
    assert whole.only().phase == phase
    whole.queue.waiting.clear()
    whole.now += 1_000
    whole.dispatcher.recover()
    whole.work()
    assert whole.only().state is State.EXPIRED
    whole.close()


@pytest.mark.parametrize(
    ("phase", "lending", "state"),
    [
        ("act", "", State.REFUSED),
        ("act", _LENDING, State.FAILED),
        ("verify", _LENDING, State.ROLLED_BACK),
    ],
)
def test_a_phase_that_breaks_five_times_ends_the_run(
    tmp_path: Path, logs: list[EventDict], phase: str, lending: str, state: State
) -> None:
    """Refused, and open to a retry, where nothing was done; else it is undone, or a person's."""
    playbook = _PLAYBOOK.replace(_LENDING, lending)
    whole = Whole(tmp_path, playbook=playbook, messenger=FakeMessenger())

    def trouble(operation: str, when: str) -> None:
        if whole.only().state is State.ACTING and phase == "act":
            raise ArithmeticError(operation, when)

    whole.aws.trouble = trouble
    whole.recovered = "broken"
    whole.deliver(whole.group()[0])
    whole.pass_time(120)
    run = whole.only()
    assert run.state is state
    assert (run.outcome or "").startswith(f"{phase} failed 5 times: ArithmeticError")
    assert [entry["event"] for entry in logs].count("phase_failed") == 5
    whole.close()


def test_a_step_before_that_may_have_happened_ends_the_ladder(whole: Whole) -> None:
    """Its answer was lost, and AWS shows nothing: no heavier step on top; a person is called."""
    silent: list[bool] = []

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("SuspendProcesses", "after"):
            silent.append(True)
            raise ReadTimeoutError(endpoint_url="x")
        if silent and whole.only().state is State.ACTING and operation.startswith("Describe"):
            raise EndpointConnectionError(endpoint_url="x")

    whole.aws.trouble = trouble
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    run = whole.only()
    assert "it is unknown whether suspend_processes" in (run.outcome or "")
    assert set(operations(whole)) <= {"SuspendProcesses", "ResumeProcesses"}
    assert len(whole.messenger.notifications) == 1  # type: ignore[attr-defined] # the fake
