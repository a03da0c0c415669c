"""Calls beyond a budget wait or fail here, before AWS throttles everybody in the account."""

import time
from dataclasses import dataclass, field

import pytest

from actions.aws.call_budgets import CallBudgetError, CallBudgets
from actions.aws.clients import connect
from demo.aws.hardness import Hardness


@dataclass
class _Time:
    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Concurrent callers all wait at once: the clock stands still."""
        self.waits.append(seconds)


@pytest.mark.parametrize(
    ("service", "operation", "reads"),
    [
        ("ec2", "DescribeInstances", True),
        ("cloudtrail", "LookupEvents", True),
        ("ec2", "RebootInstances", False),
        ("auto-scaling", "SetDesiredCapacity", False),
    ],
)
def test_no_more_is_sent_than_aws_grants(service: str, operation: str, *, reads: bool) -> None:
    """Of the documented bucket something is left to others, at the start and a minute later."""
    limits = Hardness(documented_limits=True).limit_of(service, operation, reads=reads)
    assert limits is not None
    size, per_s = limits
    clock = _Time()
    budgets = CallBudgets(clock=lambda: clock.now, sleep=clock.sleep)
    sent = []
    for _ in range(200):
        try:
            budgets(event_name=f"before-send.{service}.{operation}")
        except CallBudgetError:
            break
        sent.append(clock.waits[-1] if clock.waits else 0.0)
    assert len(sent) >= 2
    for after_s in (0.0, 1.0, 2.0):
        soon = sum(wait <= after_s for wait in sent)
        assert soon <= 0.8 * (size + per_s * after_s) + 1 <= size + per_s * (after_s + 1)


def test_a_read_fails_rather_than_wait_for_long_and_a_change_waits() -> None:
    """A reader treats it as no answer; a change that failed here would be tried again later."""
    clock = _Time()
    budgets = CallBudgets(clock=lambda: clock.now, sleep=clock.sleep)
    for _ in range(80 + 3 * 16):
        budgets(event_name="before-send.ec2.DescribeInstances")
    with pytest.raises(CallBudgetError):
        budgets(event_name="before-send.ec2.DescribeInstances")
    assert max(clock.waits) <= 3
    for _ in range(100):
        budgets(event_name="before-send.ec2.RebootInstances")
    assert clock.waits[-1] == pytest.approx((100 - 40) / 4)
    clock.now += 60
    waits = len(clock.waits)
    budgets(event_name="before-send.ec2.DescribeInstances")
    assert len(clock.waits) == waits


def test_the_clients_of_the_program_keep_the_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the two lookups a second that CloudTrail grants, others find some left."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    aws, began = connect(), time.monotonic()
    for _ in range(3):
        aws.cloudtrail.meta.events.emit("before-send.cloudtrail.LookupEvents", request=None)
    assert time.monotonic() - began >= 1.2
