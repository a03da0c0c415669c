"""A run that replaces an instance by launching first, from the alert to its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actions.execution import claims, kill_switch
from demo.aws.faults import InjectedFault
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: replace_instance
    params: {mode: launch_first}
verify: {expr: recovered, for: 10s, timeout: 60s}
"""
# What the host shows is waited for before a step that ends it.
_CAPTURED_S = 10
_FAILS = "We currently do not have sufficient c6i.large capacity in the zone."


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK)
    whole.group()
    yield whole
    whole.close()


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def test_one_run_makes_both_calls_and_ends_well(whole: Whole) -> None:
    """Also if the receiver starts anew between them."""
    target = next(iter(whole.aws.world.groups["web-asg"].members))
    whole.deliver(target)
    whole.pass_time(_CAPTURED_S)
    assert _operations(whole) == ["SetDesiredCapacity"]
    whole.start()
    whole.pass_time(120)
    group = whole.aws.world.groups["web-asg"]
    assert _operations(whole) == ["SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup"]
    assert (group.desired, len(group.members), target in group.members) == (6, 6, False)
    assert whole.only().state is State.SUCCEEDED


def test_a_group_that_cannot_launch_keeps_its_member_and_a_person_is_called(whole: Whole) -> None:
    """The capacity is given back, and nothing is terminated."""
    group = whole.aws.world.groups["web-asg"]
    target, group.launch_error = next(iter(group.members)), _FAILS
    whole.deliver(target)
    whole.pass_time(60)
    assert _operations(whole) == ["SetDesiredCapacity", "SetDesiredCapacity"]
    assert (group.desired, group.members[target].lifecycle) == (6, "InService")
    assert whole.only().state is State.FAILED
    assert "cancelled" in (whole.only().outcome or "")


def test_a_pause_between_the_calls_stops_the_second(whole: Whole) -> None:
    """Nothing more is terminated once a person has paused the service."""
    target = next(iter(whole.aws.world.groups["web-asg"].members))
    whole.deliver(target)
    whole.pass_time(_CAPTURED_S)
    with whole.state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="alice", comment="why", now=whole.now)
    whole.pass_time(120)
    assert _operations(whole) == ["SetDesiredCapacity"]


def test_the_end_of_its_run_gives_back_what_was_added(whole: Whole) -> None:
    """A person cancels the run before the second call: the group keeps its size and its member."""
    group = whole.aws.world.groups["web-asg"]
    target = next(iter(group.members))
    whole.deliver(target)
    whole.pass_time(_CAPTURED_S)
    assert (_operations(whole), group.desired) == (["SetDesiredCapacity"], 7)
    whole.commands.cancel(whole.only().id, "alice", "I have it")
    whole.pass_time(60)
    run = whole.only()
    assert (run.state, group.desired, group.members[target].lifecycle) == (
        State.CANCELLED,
        6,
        "InService",
    )
    assert "called off before its last call" in (run.outcome or "")


def test_what_cannot_be_given_back_is_told_to_a_person(whole: Whole) -> None:
    target = next(iter(whole.aws.world.groups["web-asg"].members))
    whole.deliver(target)
    whole.pass_time(_CAPTURED_S)
    whole.aws.faults.inject(InjectedFault(operation="SetDesiredCapacity", kind="error"))
    whole.aws.faults.inject(
        InjectedFault(operation="TerminateInstanceInAutoScalingGroup", kind="error")
    )
    whole.commands.cancel(whole.only().id, "alice", "I have it")
    whole.pass_time(60)
    run = whole.only()
    assert run.state is State.FAILED
    assert "replace_instance was not called off" in (run.outcome or "")


def test_without_its_claim_a_run_ends_and_tells_a_person(whole: Whole) -> None:
    """It does not wait for ever for what it may no longer do."""
    whole.deliver(next(iter(whole.aws.world.groups["web-asg"].members)))
    whole.pass_time(_CAPTURED_S)
    with whole.state.write() as connection:
        claims.release(connection, whole.only().id)
    whole.commands.cancel(whole.only().id, "alice", "I have it")
    whole.pass_time(60)
    assert whole.only().state is State.FAILED
    assert "its claim has ended" in (whole.only().outcome or "")
