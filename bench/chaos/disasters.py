"""The disasters of `make chaos`."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.chaos.cluster import Replica

_RARELY = 0.2
_FAULTS: Sequence[Mapping[str, object]] = (
    {"service": "ec2", "operation": "RebootInstances", "kind": "drop_after"},
    {"service": "ec2", "operation": "RebootInstances", "kind": "delay", "delay_s": 3.0},
    {"service": "ec2", "operation": "RebootInstances", "kind": "error", "status": 500},
    {
        "service": "ec2",
        "operation": "RebootInstances",
        "kind": "error",
        "status": 503,
        "code": "RequestLimitExceeded",
    },
    {"service": "ec2", "operation": "DescribeInstances", "kind": "error", "status": 500},
    {"service": "autoscaling", "operation": "*", "kind": "delay", "delay_s": 1.0},
)


def draw_disasters(chance: random.Random, replicas: Sequence[Replica]) -> Iterator[tuple[str, Any]]:
    """The disasters of one round: a name, and the receivers or the fault of AWS."""
    for _ in range(chance.randint(1, 2)):
        victims = chance.sample(replicas, chance.choice((1, 1, 2)))
        yield "kill both" if len(victims) > 1 else "kill one", victims
    for fault in chance.sample(_FAULTS, 2):
        yield "aws", {**fault, "times": chance.randint(1, 3)}
    if chance.random() < _RARELY:
        yield "database", None
    if chance.random() < _RARELY:
        yield "prometheus", None
