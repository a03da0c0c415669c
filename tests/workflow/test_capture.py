"""Evidence is kept before a step that may destroy it, and no step is lost for it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions.audit import log
from actions.base import Outcome
from actions.execution import claims, ledger
from actions.execution.ledger import Intent
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.step_key import StepKind
from demo.aws.faults import InjectedFault
from demo.aws.hardness import Hardness
from receiver.runs.model import State
from receiver.runs.views import run_view
from tests.end_to_end.whole_fixtures import Whole

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: ACTION
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, _PLAYBOOK.replace("ACTION", "reboot_instance"))
    yield whole
    whole.close()


def _acting(folder: Path, step: str) -> Whole:
    folder.mkdir()
    return Whole(folder, _PLAYBOOK.replace("ACTION", step))


def _capture(whole: Whole) -> Intent:
    with whole.state.read() as connection:
        steps = ledger.intents_by_run(connection, [whole.only().id])[whole.only().id]
    (capture,) = [step for step in steps if step.step.kind is StepKind.CAPTURE]
    return capture


def _done(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def test_a_reboot_does_not_wait_for_what_its_host_says(whole: Whole) -> None:
    """The host is asked first; AWS queues the reboot, and shows after the call what was before."""
    whole.deliver(whole.group()[0])
    whole.work()
    assert _done(whole) == ["RebootInstances"]
    operations = [
        operation
        for operation in whole.aws.operations()
        if operation in {"SendCommand", "RebootInstances", "GetConsoleScreenshot"}
    ]
    assert operations == ["SendCommand", "RebootInstances", "GetConsoleScreenshot"]
    assert len(_capture(whole).made["objects"]) == 1


def test_the_decision_tells_it_the_target_groups(whole: Whole) -> None:
    """The group is not read again for them."""
    whole.deliver(whole.group()[0])
    whole.work()
    operations = whole.aws.operations()
    after = operations[operations.index("RebootInstances") :]
    assert "DescribeScalingActivities" in after
    assert "DescribeAutoScalingGroups" not in after


def test_a_hold_that_came_meanwhile_leaves_nothing_to_record(whole: Whole) -> None:
    executor = replace(
        whole.service.lifecycle.step_runner.executor,
        forbids=lambda _connection, _step: Refusal(Reason.OVERRIDE_HOLD, "a person holds it"),
    )
    object.__setattr__(whole.service.lifecycle.step_runner, "executor", executor)
    whole.deliver(whole.group()[0])
    whole.work()
    run = whole.only()
    with whole.state.read() as connection:
        assert ledger.intents_by_run(connection, [run.id]) == {}
    assert (run.state, run.refusal) == (State.REFUSED, Reason.OVERRIDE_HOLD)
    assert {"SendCommand", "RebootInstances"} & {*whole.aws.operations()} == set()


def test_what_a_host_says_beside_a_step_is_kept_when_it_has_come(tmp_path: Path) -> None:
    step = "restart_service\n    params: {service: app}"
    whole = _acting(tmp_path / "a", step)
    whole.deliver(whole.group()[0])
    whole.work()
    assert _done(whole) == ["SendCommand"]
    whole.pass_time(10)
    assert len(_capture(whole).made["objects"]) == 2
    whole.close()


def test_a_replacement_waits_for_what_its_host_says(tmp_path: Path) -> None:
    """A terminated host says nothing any more."""
    whole = _acting(tmp_path / "a", "replace_instance")
    whole.deliver(whole.group()[0])
    whole.work()
    assert _done(whole) == []
    whole.pass_time(5)
    assert "TerminateInstanceInAutoScalingGroup" in _done(whole)
    assert len(_capture(whole).made["objects"]) == 2
    whole.close()


def test_no_step_waits_longer_than_five_seconds(tmp_path: Path) -> None:
    """The agent takes the command late, or never."""
    whole = _acting(tmp_path / "a", "replace_instance")
    whole.aws.core.hardness = Hardness(delayed=1.0)
    whole.deliver(whole.group()[0])
    whole.work()
    whole.pass_time(5)
    assert "TerminateInstanceInAutoScalingGroup" in _done(whole)
    assert len(_capture(whole).made["objects"]) == 1
    whole.close()


def test_a_playbook_says_how_long_a_step_waits(tmp_path: Path) -> None:
    before = "reboot_instance\n    before: [{action: capture, params: {wait_s: 2}}]"
    whole = _acting(tmp_path / "a", before)
    whole.deliver(whole.group()[0])
    whole.work()
    assert _done(whole) == []
    whole.pass_time(5)
    assert _done(whole) == ["RebootInstances"]
    whole.close()


def test_what_is_reversible_has_no_capture(tmp_path: Path) -> None:
    step = "suspend_processes\n    params: {processes: [AZRebalance]}"
    whole = _acting(tmp_path / "a", step)
    whole.deliver(whole.group()[0])
    whole.work()
    assert run_view(whole.only(), [])["captures"] == []
    assert "GetConsoleScreenshot" not in whole.aws.operations()
    whole.close()


def test_its_failure_is_recorded_and_blocks_nothing(whole: Whole) -> None:
    (whole.folder / "audit").write_text("no folder")
    whole.aws.faults.inject(InjectedFault(operation="GetConsoleOutput", kind="error"))
    whole.deliver(whole.group()[0])
    whole.work()
    made = _capture(whole).made
    assert _done(whole) == ["RebootInstances"]
    assert (made["objects"], set(made["missing"])) == ([], {"aws", "console_output"})


def test_its_hash_is_in_the_audit_and_in_the_run(whole: Whole) -> None:
    whole.deliver(whole.group()[0])
    whole.pass_time(30)
    run = whole.only()
    with whole.state.read() as connection:
        records = log.records(connection, run_id=run.id)
        steps = ledger.intents_by_run(connection, [run.id])[run.id]
    details: list[Any] = [record["detail"] for record in records]
    (shown,) = run_view(run, steps)["captures"]
    assert [step["action"] for step in run_view(run, steps)["steps"]] == ["reboot_instance"]
    for kept in shown["objects"]:
        assert any(kept["sha256"] in detail for detail in details)
        assert (whole.folder / "audit" / "captures" / kept["name"]).stat().st_size == kept["bytes"]


def test_a_step_that_never_ran_uses_up_nothing_for_its_capture(whole: Whole) -> None:
    """The capture is no act on its target: no cooldown stays."""
    target = whole.group()[0]
    whole.aws.faults.inject(
        InjectedFault(operation="RebootInstances", kind="error", code="AuthFailure", status=401)
    )
    whole.deliver(target)
    whole.pass_time(30)
    assert (whole.only().state, _capture(whole).outcome) == (State.FAILED, Outcome.CHANGED)
    with whole.state.read() as connection:
        assert claims.list_active(connection, whole.now) == []


def test_cut_off_while_capturing_the_step_is_taken(whole: Whole) -> None:
    """It is not captured a second time, and nothing is sent twice."""

    class CutOffError(BaseException):
        pass

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("GetConsoleOutput", "before"):
            whole.aws.trouble = lambda *_: None
            raise CutOffError

    whole.aws.trouble = trouble
    whole.deliver(whole.group()[0])
    with pytest.raises(CutOffError):
        whole.work()
    whole.start()
    whole.work()
    assert _done(whole) == ["RebootInstances"]
    assert whole.aws.operations().count("SendCommand") == 1


def test_aws_is_read_right_after_the_step_also_where_the_host_is_asked_late(whole: Whole) -> None:
    """Not first when the step is verified, seconds later: the console shows the next boot then."""
    slow = threading.Event()

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("DescribeInstanceInformation", "before"):
            assert slow.wait(10)

    whole.aws.trouble = trouble
    with ThreadPoolExecutor(2) as pool:
        object.__setattr__(whole.service.lifecycle.step_runner, "pool", pool)
        whole.deliver(whole.group()[0])
        whole.work()
        assert _done(whole) == ["RebootInstances"]
        slow.set()
    assert len(_capture(whole).made["objects"]) == 1
