"""Rollback and escalation, when AWS or a channel fails or a person stops them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from structlog.testing import capture_logs

from actions.messaging import MessengerError
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole
from tests.fake_messenger import FakeMessenger

_ROLLED_BACK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: set_desired_capacity
    params: {desired: "+1"}
    before:
      - action: suspend_processes
        params: {processes: [Terminate]}
verify: {expr: recovered, for: 10s, timeout: 60s}
rollback: true
"""
_ESCALATED = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: set_desired_capacity
    params: {desired: "+1"}
escalate: [{action: notify, params: {to: oncall, message: help}}]
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


class Down(FakeMessenger):
    def notify(self, to: str, title: str, text: str) -> None:
        super().notify(to, title, text)
        raise MessengerError("the channel is down", sent=False)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A traceback for a terminal takes minutes."""
    with capture_logs():
        yield


def test_a_rollback_that_is_repeated_counts_once(tmp_path: Path) -> None:
    """One of two steps cannot be read at first: the one after it was rolled back already."""
    whole = Whole(tmp_path, playbook=_ROLLED_BACK, recovered="0", messenger=FakeMessenger())
    unread = [True, True]

    def trouble(operation: str, when: str) -> None:
        reading = operation == "DescribeAutoScalingGroups" and when == "before"
        given_back = [call.operation for call in whole.aws.calls].count("SetDesiredCapacity") == 2
        if reading and given_back and unread:
            unread.pop()
            raise EndpointConnectionError(endpoint_url="x")

    whole.aws.trouble = trouble
    whole.deliver(whole.group()[0])
    whole.work()
    whole.commands.roll_back(whole.only().id, "bob", "give it back")
    whole.pass_time(60)
    assert whole.only().state is State.ROLLED_BACK
    assert not unread
    labels = {"action": "scale_in", "outcome": "changed"}
    assert whole.registry.get_sample_value("smartcloudops_actions_total", labels) == 1
    whole.close()


def test_a_run_that_only_calls_people_can_be_cancelled(tmp_path: Path) -> None:
    """They are called no more, and the end says who stopped it."""
    messenger = Down()
    whole = Whole(tmp_path, playbook=_ESCALATED, recovered="0", messenger=messenger)
    whole.deliver(whole.group()[0])
    whole.pass_time(80)
    run = whole.only()
    assert run.state is State.ACTING, run
    assert messenger.notifications
    whole.commands.cancel(run.id, "bob", "I know")
    called = len(messenger.notifications)
    whole.pass_time(300)
    run = whole.only()
    assert (run.state, run.outcome) == (
        State.CANCELLED,
        "cancelled by bob, and its escalation stopped: I know",
    )
    assert len(messenger.notifications) == called
    whole.close()
