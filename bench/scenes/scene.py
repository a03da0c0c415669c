"""A scene: the hosts of one labelled incident, their faults, and the expected actions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.scenes.frozen_aws import FrozenGroup
from demo.fleet.workload import Host, Moments, Workload

HOSTS = 6
DAY_S = 86_400.0
_FORCES = ("runaway", "batch", "leak", "fill", "hang", "wrong")


@dataclass(kw_only=True)
class Member:
    """A host, the faults on it (shares of their full force over the moments), and its gaps.

    `silent_s` is how long before the end its samples stop, `history` whether it has a past,
    `reset_s` how long ago its counters were reset.
    """

    host: Host
    requests: Moments
    forces: dict[str, Moments] = field(default_factory=dict)
    up: bool = True
    silent_s: float = 0.0
    history: bool = True
    reset_s: float | None = None


@dataclass(kw_only=True)
class Scene:
    """`expect` are the right acts by action and target; empty expects none.

    `approval` says that a person must approve first. `alerts` are names of alerts with targets.
    """

    kind: str
    name: str
    members: Sequence[Member]
    aws: FrozenGroup
    alerts: Sequence[tuple[str, str]]
    expect: frozenset[tuple[str, str]] = frozenset()
    approval: bool = False
    began_s: float = 30.0
    deploying: bool = False
    level: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The inputs of every scene: moments that end at `now`, and a source of chance."""

    at: Moments
    now: float
    chance: random.Random


def workload_of(member: Member, at: Moments) -> Workload:
    """The workload of a member over the moments."""
    none = np.zeros(at.shape)
    forces = {name: member.forces.get(name, none) for name in _FORCES}
    return Workload(requests=member.requests, **forces)
