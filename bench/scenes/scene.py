"""One labelled incident: its hosts, their faults, and the expected actions."""

import random
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.scenes.shop import Shop
from demo.aws.emulator import Emulator
from demo.aws.faults import InjectedFault
from demo.aws.world import Group, World
from demo.fleet.node_exporter import Exporter
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
    exporter: Exporter = field(default_factory=lambda: Exporter(0.0, 0.0))


@dataclass(kw_only=True)
class Scene:
    """A scene; `expect` are the right actions with their targets in order, empty if none is right.

    With `approval` a person must approve the last; with `person` one is called at the end, else the
    target recovers. `after_failure` is right where the document of the first fails; without it the
    same as ever. `alerts` are names of alerts with targets. `burn` are errors and requests at
    the last moments. `faults` are AWS's, `meddle` changes AWS while the run lasts. No document
    mends a `stubborn` fault, nor a boot if it `outlives_boot`; each host that is launched has the
    faults `every_launch`. On a `failing` host each document fails.
    """

    kind: str
    name: str
    members: Sequence[Member]
    aws: World
    shop: Shop
    alerts: Sequence[tuple[str, str]]
    expect: Sequence[tuple[str, str]] = ()
    after_failure: "Then | None" = None
    approval: bool = False
    person: bool = False
    began_s: float = 30.0
    level: float = 1.0
    burn: Sequence[tuple[float, float]] = ()
    faults: list[InjectedFault] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    meddle: "Meddle | None" = None
    stubborn: frozenset[str] = frozenset()
    outlives_boot: bool = False
    suspended: AbstractSet[str] = field(default_factory=set)
    every_launch: Mapping[str, float] = field(default_factory=dict)
    failing: bool = False

    def fail_documents(self) -> None:
        """Each document fails on its hosts: the next heavier step is right."""
        self.failing = True
        if self.after_failure is not None and self.expect:
            first = self.expect[0]
            self.expect = [first, (self.after_failure.action, first[1])]
            self.approval = self.after_failure.approval

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(member.host.instance_id for member in self.members)

    def alert_labels(self, target: str) -> Mapping[str, str]:
        """The labels that alerts on the target have: those of its series, or of its group's."""
        hosts = [one.host for one in self.members if one.host.instance_id == target]
        return self.shop.labels(hosts[0]) if hosts else {"asg": target}

    @property
    def group(self) -> Group:
        return self.aws.groups[self.name]


class Then(NamedTuple):
    """The next step, and whether a person must approve it."""

    action: str
    approval: bool = False


class Act(NamedTuple):
    """A step that may have changed something."""

    action: str
    target: str


Meddle = Callable[[Emulator, Scene], None]


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


def latest(moments: Moments) -> float:
    return float(np.broadcast_to(moments, (1,))[0] if moments.ndim == 0 else moments[-1])
