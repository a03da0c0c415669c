"""Hardware that fails: an instance leaves it by a stop and a start, and is never left stopped."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.aws.world import AwsError
from models.inference.verdict import Answer
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.manual_runs import ManualRuns
from receiver.runs.model import RunRequest, State
from tests.end_to_end.whole_fixtures import Whole, verdict

_MOVES = """
name: hardware
match: ['alertname="HighCPU"']
mode: auto
standalone: true
steps:
  - action: reboot_instance
    when: target.system_check != "impaired"
  - action: stop_instance
    when: target.system_check == "impaired"
    before:
      - {action: suspend_processes, params: {processes: [HealthCheck, ReplaceUnhealthy]}}
    verify: {expr: recovered, timeout: 1s}
  - action: start_instance
    when: target.state == "stopped"
  - action: replace_instance
verify: {expr: recovered, for: 10s, timeout: 60s}
rollback: true
"""
_STARTS = """
name: starts
match: ['alertname="HighCPU"']
mode: auto
standalone: true
steps: [{action: start_instance}]
verify: {expr: recovered, for: 10s, timeout: 60s}
"""
_MOVED = ["SuspendProcesses", "StopInstances", "StartInstances", "ResumeProcesses"]


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_MOVES, recovered="0")
    yield whole
    whole.close()


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def _fail(whole: Whole, instance_id: str) -> None:
    instance = whole.aws.world.instances[instance_id]
    instance.impaired, instance.impaired_at = "system", whole.now


def _until(whole: Whole, operation: str) -> None:
    for _ in range(100):
        if operation in _operations(whole):
            return
        whole.pass_time(5)
    raise AssertionError(_operations(whole))


def test_an_instance_leaves_its_failed_host(whole: Whole) -> None:
    """What the group does by itself is suspended meanwhile, and resumed."""
    target = whole.group()[0]
    _fail(whole, target)
    whole.deliver(target)
    _until(whole, "StartInstances")
    whole.recovered = "1"
    whole.pass_time(60)
    assert (whole.only().state, _operations(whole)) == (State.SUCCEEDED, _MOVED)
    instance = whole.aws.world.instances[target]
    assert (instance.state, instance.impaired) == ("running", "")
    assert whole.aws.world.groups["web-asg"].suspended == set()


@pytest.mark.parametrize("answer", [Answer.REFUTED, Answer.UNDECIDED])
def test_a_stopped_instance_has_no_metrics_and_is_started(whole: Whole, answer: Answer) -> None:
    """Its alert ends when Prometheus discovers it no more: that is no recovery."""
    target = whole.group()[0]
    _fail(whole, target)
    whole.deliver(target)
    _until(whole, "StopInstances")
    whole.scraped_until = whole.now
    whole.deliver(target, firing=False)
    whole.verdicts[target] = verdict(answer)
    _until(whole, "StartInstances")
    whole.recovered, whole.scraped_until = "1", math.inf
    whole.pass_time(60)
    assert (whole.only().state, _operations(whole)) == (State.SUCCEEDED, _MOVED)


def test_whoever_stops_the_run_does_not_leave_the_instance_stopped(whole: Whole) -> None:
    """A hold comes between stop and start: the rollback starts it."""
    target = whole.group()[0]
    _fail(whole, target)
    whole.deliver(target)
    _until(whole, "StopInstances")
    held = Override(
        id="0" * 26,
        matchers=[parse('asg="web-asg"')],
        effect=Effect.HOLD,
        starts_at=whole.now,
        ends_at=whole.now + 600,
        created_by="alice",
        comment="careful",
    )
    with whole.state.write() as connection:
        overrides.add(connection, held, whole.now)
    whole.pass_time(120)
    assert whole.only().state is State.ROLLED_BACK
    assert _operations(whole) == _MOVED
    assert whole.aws.world.instances[target].state in {"pending", "running"}


def test_another_host_that_does_not_help_is_not_stopped_again(whole: Whole) -> None:
    """The start is no step to roll back: it is what the stop was for."""
    target = whole.group()[0]
    _fail(whole, target)
    whole.deliver(target)
    _until(whole, "TerminateInstanceInAutoScalingGroup")
    whole.pass_time(900)
    assert _operations(whole).count("StopInstances") == 1
    assert "a person is needed" in (whole.only().outcome or "")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("root", "instance-store", "instance-store root and cannot be stopped: replace it"),
        ("one_time_spot", True, "one-time Spot Instance and cannot be stopped: replace it"),
        ("affinity", "host", "bound to its Dedicated Host, which fails, and starts there again"),
    ],
)
def test_who_cannot_be_stopped_is_named(
    whole: Whole, name: str, value: object, reason: str
) -> None:
    target = whole.group()[0]
    _fail(whole, target)
    setattr(whole.aws.world.instances[target], name, value)
    whole.deliver(target)
    whole.pass_time(600)
    assert reason in (whole.only().outcome or "")
    assert "StopInstances" not in _operations(whole)
    assert whole.aws.world.groups["web-asg"].suspended == set()


def _ask(whole: Whole, playbook: str, target: str) -> None:
    runs = ManualRuns(
        database=whole.state,
        playbooks=whole.playbooks,
        decide_sync=lambda _: None,
        wake=lambda: None,
        clock=whole.clock,
    )
    request = RunRequest(
        by="alice",
        role="operator",
        comment="please",
        playbook=playbook,
        target=target,
        dry_run=False,
    )
    runs.start(request)


@pytest.mark.parametrize(
    ("playbook", "name", "state", "called"),
    [
        (_STARTS, "starts", "stopped", ["StartInstances"]),
        (_STARTS, "starts", "stopping", []),
        (_MOVES.replace('!= "impaired"', '!= ""'), "hardware", "stopped", []),
    ],
)
def test_a_person_may_have_a_stopped_instance_started(
    tmp_path: Path, playbook: str, name: str, state: str, called: list[str]
) -> None:
    """And no other step is taken on it."""
    whole = Whole(tmp_path, playbook=playbook)
    target = whole.group()[0]
    whole.aws.world.instances[target].state = state
    whole.aws.world.groups["web-asg"].suspended = {"ReplaceUnhealthy", "HealthCheck"}
    _ask(whole, name, target)
    whole.pass_time(60)
    assert _operations(whole) == called, whole.only().outcome
    assert called or whole.only().refusal == "target_unproven"
    whole.close()


@pytest.mark.parametrize(
    ("reason", "called"),
    [
        ("Client.UserInitiatedShutdown", []),
        ("Client.UserInitiatedHibernate", []),
        ("Client.InstanceInitiatedShutdown", ["StartInstances"]),
        ("Server.ScheduledStop", ["StartInstances"]),
    ],
)
def test_what_somebody_stopped_stays_stopped(
    tmp_path: Path, reason: str, called: list[str]
) -> None:
    """An alert that it is down does not start it, a person may: it may be stopped for forensics."""
    whole = Whole(tmp_path, playbook=_STARTS)
    target = whole.group()[0]
    instance = whole.aws.world.instances[target]
    instance.state, instance.state_reason = "stopped", reason
    whole.aws.world.groups["web-asg"].suspended = {"ReplaceUnhealthy", "HealthCheck"}
    whole.deliver(target)
    whole.pass_time(60)
    assert _operations(whole) == called, whole.only().outcome
    if not called:
        assert whole.only().refusal == "target_unproven"
        _ask(whole, "starts", target)
        whole.pass_time(60)
        assert _operations(whole) == ["StartInstances"], whole.runs()[-1].outcome
    whole.close()


def test_hosts_that_fail_at_once_are_left_one_at_a_time(tmp_path: Path) -> None:
    """A storm freezes single instances, as they share a cause; failed hosts each have their own."""
    playbook = _MOVES.replace('target.system_check != "impaired"', "group.storm")
    whole = Whole(tmp_path, playbook=playbook, recovered="0")
    members = whole.group(size=40)
    failed, healthy = members[:6], members[6:12]
    for target in failed:
        _fail(whole, target)
    for target in (*healthy, *failed):
        whole.deliver(target)
    for _ in range(8):
        whole.pass_time(5)
        stopped = {i.id for i in whole.aws.world.instances.values() if i.state != "running"}
        assert len(stopped) <= 1
        assert stopped <= set(failed)
    assert any(call.operation == "StopInstances" for call in whole.aws.calls)
    whole.close()


def test_a_storm_freezes_failed_hosts_too_where_ec2_does_not_answer(whole: Whole) -> None:
    """An unknown status is no exception."""
    targets = whole.group(size=12)[:6]

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeInstanceStatus":
            raise AwsError("RequestLimitExceeded", status=503)

    whole.aws.trouble = trouble
    for target in targets:
        _fail(whole, target)
        whole.deliver(target)
    whole.pass_time(60)
    assert _operations(whole) == []
    assert "storm" in {run.refusal for run in whole.runs()}
