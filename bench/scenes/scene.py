"""One labelled incident: its hosts, their faults, and the expected actions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from demo.aws.world import Group, World
from demo.fleet.workload import Host, Moments, Workload

HOSTS = 6
DAY_S = 86_400.0
_FORCES = ("runaway", "batch", "leak", "fill", "hang", "wrong")


@dataclass(kw_only=True)
class Member:
    """A host, its faults (each with its effect from 0 to 1 over the moments), and its gaps.

    Its samples stop `silent_s` before the end, and its counters were reset `reset_s` before the
    end; `history` says whether it has a past.
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
    """A scene; `expect` are the right actions with their targets, empty if none is right.

    With `approval` a person must approve first. `alerts` are names of alerts with targets.
    """

    kind: str
    name: str
    members: Sequence[Member]
    aws: World
    alerts: Sequence[tuple[str, str]]
    expect: frozenset[tuple[str, str]] = frozenset()
    approval: bool = False
    began_s: float = 30.0
    level: float = 1.0

    @property
    def group(self) -> Group:
        return self.aws.groups[self.name]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The inputs of every scene: moments that end at `now`, and a random generator."""

    at: Moments
    now: float
    chance: random.Random


def workload_of(member: Member, at: Moments) -> Workload:
    """The workload of a member over the moments."""
    none = np.zeros(at.shape)
    forces = {name: member.forces.get(name, none) for name in _FORCES}
    return Workload(requests=member.requests, **forces)
