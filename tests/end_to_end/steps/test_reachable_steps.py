"""Each action for an instance that is stopped, in standby or outside can be a step of a ladder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.aws.world import GROUP_TAG
from receiver.runs.manual_runs import ManualRuns
from receiver.runs.model import RunRequest
from tests.end_to_end.whole_fixtures import Whole

_SUSPENDED = (
    "before: [{action: suspend_processes, params: {processes: [HealthCheck, ReplaceUnhealthy]}}]"
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Whole]]:
    made: list[Whole] = []

    def make(*steps: str) -> Whole:
        ladder = "".join(f"\n  - {step}" for step in steps)
        playbook = f"""
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
standalone: true
steps:{ladder}
verify: {{expr: recovered, for: 10s, timeout: 60s}}
"""
        made.append(Whole(tmp_path, playbook=playbook))
        return made[-1]

    yield make
    for whole in made:
        whole.close()


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def _by_hand(whole: Whole, target: str) -> None:
    manual = ManualRuns(
        database=whole.state,
        playbooks=whole.playbooks,
        decide_sync=whole.dispatcher.decide_sync,
        wake=whole.dispatcher.dispatch,
        clock=whole.clock,
    )
    manual.start(
        RunRequest(
            by="alice",
            role="operator",
            comment="please",
            playbook="high-cpu",
            target=target,
            dry_run=False,
        )
    )
    whole.pass_time(30)


def _stop(whole: Whole, target: str) -> None:
    whole.aws.world.instances[target].state = "stopped"


def _standby(whole: Whole, target: str) -> None:
    whole.aws.world.groups["web-asg"].members[target].lifecycle = "Standby"


def _leave(whole: Whole, target: str) -> None:
    del whole.aws.world.groups["web-asg"].members[target]
    del whole.aws.world.instances[target].tags[GROUP_TAG]


@pytest.mark.parametrize(
    ("step", "prepare", "operation"),
    [
        ("action: start_instance", _stop, "StartInstances"),
        ("action: exit_standby", _standby, "ExitStandby"),
        ("{action: attach_instance, params: {group: web-asg}}", _leave, "AttachInstances"),
    ],
)
def test_a_person_runs_it_on_the_instance_that_needs_it(
    make: Callable[..., Whole],
    step: str,
    prepare: Callable[[Whole, str], None],
    operation: str,
) -> None:
    """Not refused as stopped, in standby, or outside of its group."""
    whole = make(step)
    target = whole.group()[0]
    prepare(whole, target)
    _by_hand(whole, target)
    assert _operations(whole) == [operation], whole.only().outcome


@pytest.mark.parametrize(
    ("steps", "operations"),
    [
        (
            (f"{{action: stop_instance, {_SUSPENDED}}}", "action: start_instance"),
            ["SuspendProcesses", "StopInstances", "StartInstances"],
        ),
        (("action: enter_standby", "action: exit_standby"), ["EnterStandby", "ExitStandby"]),
        (
            ("action: detach_instance", "{action: attach_instance, params: {group: web-asg}}"),
            ["DetachInstances", "AttachInstances"],
        ),
    ],
)
def test_a_ladder_takes_the_instance_back(
    make: Callable[..., Whole], steps: tuple[str, ...], operations: list[str]
) -> None:
    """The second step finds it as the first one left it."""
    whole = make(*steps)
    target = whole.group()[0]
    whole.recovered = "0"
    whole.deliver(target)
    for _ in range(4):
        whole.pass_time(60)
        whole.deliver(target, began_s=20 + 60)
    assert _operations(whole)[: len(operations)] == operations, whole.runs()[-1].outcome


def test_a_step_for_a_running_instance_is_refused_on_a_stopped_one(
    make: Callable[..., Whole],
) -> None:
    """Although a later step would start it."""
    whole = make("action: reboot_instance", "action: start_instance")
    target = whole.group()[0]
    _stop(whole, target)
    _by_hand(whole, target)
    assert (_operations(whole), whole.only().refusal) == ([], "target_unproven")
    assert f"{target} is stopped: not for reboot_instance" in (whole.only().outcome or "")


def test_a_started_instance_can_still_be_rebooted_by_its_run(make: Callable[..., Whole]) -> None:
    """EC2 calls a start a launch, which does not make it another instance than the alert's."""
    whole = make("action: start_instance", "action: reboot_instance")
    target = whole.group()[0]
    _stop(whole, target)
    whole.recovered = "0"
    whole.deliver(target)
    whole.pass_time(120)
    assert _operations(whole) == ["StartInstances", "RebootInstances"], whole.only().outcome
