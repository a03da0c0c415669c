"""The recording of a set: machines break on schedule while all of them are read."""

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from demo.fleet.faults import FaultError
from demo.lab import roles
from demo.lab.readings import Reading, parse

GROUP, SIZE = "web-asg", 6
STEP_S = 5
_WARM_UP_S = 30.0
# How long something goes on at most, and the rest of its machine afterwards.
LASTS_S, REST_S = 75.0, 25.0
_LATER_S = 10.0
# Incidents and look-alikes of real machines, and those that the simulation has, too.
INCIDENTS = (
    "cpu_runaway",
    "memory_leak",
    "disk_full",
    "service_hang",
    "hardware_failure",
    "memory_exhausted",
    "workers_exhausted",
    "crash_loop",
    "fork_storm",
    "network_card_gone",
    "packet_loss",
    "connection_leak",
)
BENIGN = ("batch_job", "traffic_surge", "compile_job", "log_rotation", "cache_warm_up")
SIMULATED = (5, 2)


class BrokenFleet(Protocol):
    """A fleet of real machines, or the simulation of one."""

    def begin(self, now: float) -> None:
        """Their past ends now."""

    def truth(self) -> Sequence[dict[str, Any]]:
        """The state of each, with its `instance_id` and `asg`."""

    def inject(self, target: str, name: str) -> None:
        """Raises FaultError."""

    def repair(self, target: str | None) -> None:
        """Make the target well again."""

    def metrics(self, instance_id: str) -> str | None:
        """What its exporter says; empty where it does not answer."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What was going on at a machine, in epoch seconds; a surge is at every machine."""

    target: str | None
    kind: str
    began: float
    ended: float


@dataclass
class Lab:
    """The series [rows, roles] of each machine, and the events, while they are recorded.

    `incidents` and `benign` are the kinds; time passes by `clock` and `sleep`.
    """

    fleet: BrokenFleet
    chance: random.Random
    incidents: Sequence[str] = INCIDENTS
    benign: Sequence[str] = BENIGN
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    rows: dict[str, list[list[float]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    start: int = 0
    _before: dict[str, Reading] = field(default_factory=dict, init=False)
    _kinds: list[str] = field(default_factory=list, init=False)
    _now: Event | None = field(default=None, init=False)
    _next_at: float = field(default=0.0, init=False)

    def run(self, minutes: float) -> None:
        """Read every machine at a steady pace, and break one after the other."""
        self.fleet.begin(self.clock())
        self.sleep(_WARM_UP_S)
        names = [item["instance_id"] for item in self.fleet.truth() if item["asg"] == GROUP]
        self.start = int(self.clock())
        self.rows = {name: [] for name in names}
        began, step, until = self.clock(), 0, self.clock() + 60 * minutes
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            while began + step * STEP_S < until:
                texts = list(pool.map(self.fleet.metrics, names))
                # A reading that took long is that of the moments which it missed, too.
                lasted = 1 + max(0, int((self.clock() - began) // STEP_S) - step)
                for name, text in zip(names, texts, strict=True):
                    self.rows[name] += [self._row(name, text)] * lasted
                self._break(names, until)
                step += lasted
                self.sleep(max(0.0, began + step * STEP_S - self.clock()))

    def _break(self, names: Sequence[str], until: float) -> None:
        """End what goes on if its time is over, or begin the next if it has come."""
        at = self.clock()
        if self._now is not None:
            if at >= self._now.ended:
                self.fleet.repair(self._now.target or GROUP)
                self._now = None
                self._next_at = at + REST_S + self.chance.uniform(0, _LATER_S)
        elif self._next_at <= at < until - LASTS_S:
            if not self._kinds:
                self._kinds = [*self.incidents, *self.benign, *self.benign]
                self.chance.shuffle(self._kinds)
            kind = self._kinds.pop()
            target = None if kind == "traffic_surge" else self.chance.choice(names)
            try:
                self.fleet.inject(target or GROUP, kind)
            except FaultError:
                # It has not come back from what was before.
                self._next_at = at + REST_S
                return
            self._now = Event(target=target, kind=kind, began=at, ended=at + LASTS_S)
            self.events.append(self._now)

    def _row(self, name: str, text: str | None) -> list[float]:
        """The levels now; what does not answer keeps its last ones, with its service down."""
        reading = parse(text) if text else None
        found = None
        if reading is not None:
            found = roles.levels(self._before[name], reading) if name in self._before else None
            self._before[name] = reading
        if found is not None:
            return found
        last = list(self.rows[name][-1]) if self.rows[name] else [0.0] * len(roles.ROLES)
        last[roles.ROLES.index("service_up")] = 0.0
        return last
