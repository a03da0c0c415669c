"""Budgets of calls: four fifths of what AWS grants an account in a region, for each operation.

AWS throttles all callers of an account together; the rest is left to people and other programs.
https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
Auto Scaling's limits are not public, and taken for EC2's.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError

# What has a budget; messages and objects have limits of another order.
SERVICES = frozenset({"ec2", "autoscaling", "elbv2", "ssm", "cloudtrail"})
_READS, _CHANGES, _LOOKUPS = (80.0, 16.0), (40.0, 4.0), (1.0, 1.6)
_READING = ("Describe", "Get", "List")
# A read that would wait for longer fails at once, as if AWS did not answer.
_PATIENCE_S = 3.0


class CallBudgetError(BotoCoreError):
    """A read was not sent, because its budget is spent."""

    fmt = "the budget of {operation} is spent"


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class CallBudgets:
    """The budgets of one account and region, and a handler of botocore's `before-send`.

    Each attempt takes a token, and waits until there is one: a change for as long as it takes, a
    read for at most 3 s.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _buckets: dict[str, _Bucket] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self, event_name: str, **_: Any) -> None:
        """`event_name` is such as `before-send.ec2.DescribeInstances`. Raises CallBudgetError."""
        service, operation = event_name.split(".")[1:]
        size, per_s = _limit(operation)
        with self._lock:
            now = self.clock()
            bucket = self._buckets.setdefault(f"{service}.{operation}", _Bucket(size, now))
            tokens = min(size, bucket.tokens + (now - bucket.at) * per_s) - 1
            wait_s = max(0.0, -tokens / per_s)
            if (size, per_s) != _CHANGES and wait_s > _PATIENCE_S:
                raise CallBudgetError(operation=operation)
            bucket.tokens, bucket.at = tokens, now
        if wait_s:
            self.sleep(wait_s)


def _limit(operation: str) -> tuple[float, float]:
    """The size of an operation's bucket, and its refill a second."""
    if operation == "LookupEvents":
        return _LOOKUPS
    return _READS if operation.startswith(_READING) else _CHANGES
