"""`make lab`: a labelled set of an hour, from real machines that are broken on schedule.

`python -m demo.lab.labelled_set OUT --seed 1 --minutes 60` starts a group of six, and by the seed
has one of them at a time break, or do something harmless of the same size. Each is read every five
seconds. The alerts are those of the shipped thresholds; what was going on is their label. Each
series begins with two days of the recorded past (`recorded.npz`), the usual level of such machines.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.lab import roles
from demo.lab.readings import Reading, parse
from demo.machines import history
from demo.machines.fleet import MachineFleet

_GROUP, _SIZE = "web-asg", 6
_STEP_S = 5
_PAST_S = 2 * 86_400
_WARM_UP_S = 30.0
# How long something goes on at most, and the rest of its machine afterwards.
_LASTS_S, _REST_S = 75.0, 40.0
INCIDENTS = (
    "cpu_runaway",
    "memory_leak",
    "memory_exhausted",
    "disk_full",
    "service_hang",
    "workers_exhausted",
    "crash_loop",
    "fork_storm",
    "hardware_failure",
    "network_card_gone",
)
BENIGN = ("batch_job", "compile_job", "log_rotation", "cache_warm_up", "traffic_surge")
# Rule, role, side, threshold, and for how many readings.
_RULES = (
    ("HighCPU", "cpu_busy", 1, 0.9, 3),
    ("HighLoad", "load1", 1, 2.0, 6),
    ("HighMemory", "memory_used_effective", 1, 0.9, 4),
    ("DiskSpaceLow", "filesystem_used", 1, 0.9, 4),
    ("ServiceDown", "service_up", -1, 0.5, 3),
    ("SlowAnswers", "latency", 1, 0.5, 3),
)
_QUIET_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """What was going on at a machine, in epoch seconds; a surge is at every machine."""

    target: str | None
    kind: str
    began: float
    ended: float


@dataclass
class Lab:
    """The series [rows, roles] of each machine, and the events, while they are recorded."""

    fleet: MachineFleet
    chance: random.Random
    rows: dict[str, list[list[float]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    start: int = 0

    def run(self, minutes: float) -> None:
        """Break machines in one thread, and read all of them in another."""
        self.fleet.begin(time.time())
        time.sleep(_WARM_UP_S)
        until = time.time() + 60 * minutes
        breaking = threading.Thread(target=self._break_until, args=(until,), daemon=True)
        breaking.start()
        self._read_until(until)
        breaking.join()

    def _break_until(self, until: float) -> None:
        machines = [item["instance_id"] for item in self.fleet.truth()]
        kinds: list[str] = []
        while time.time() < until - _LASTS_S:
            if not kinds:
                kinds = [*INCIDENTS, *BENIGN, *BENIGN]
                self.chance.shuffle(kinds)
            kind, target = kinds.pop(), self.chance.choice(machines)
            time.sleep(self.chance.uniform(0, 20))
            began = time.time()
            whole = kind == "traffic_surge"
            self.fleet.inject(_GROUP if whole else target, kind)
            time.sleep(_LASTS_S)
            self.events.append(
                Event(target=None if whole else target, kind=kind, began=began, ended=time.time())
            )
            self.fleet.repair(_GROUP if whole else target)
            time.sleep(_REST_S)

    def _read_until(self, until: float) -> None:
        before: dict[str, Reading] = {}
        names = [item["instance_id"] for item in self.fleet.truth()]
        self.start = int(time.time())
        self.rows = {name: [] for name in names}
        at = time.monotonic()
        while time.time() < until:
            for name in names:
                self.rows[name].append(self._row(name, before))
            at += _STEP_S
            time.sleep(max(0.0, at - time.monotonic()))

    def _row(self, name: str, before: dict[str, Reading]) -> list[float]:
        """The levels now; what does not answer keeps its last ones, with its service down."""
        text = self.fleet.metrics(name)
        reading = parse(text) if text else None
        found = None
        if reading is not None:
            found = roles.levels(before[name], reading) if name in before else None
            before[name] = reading
        if found is not None:
            return found
        last = list(self.rows[name][-1]) if self.rows[name] else [0.0] * len(roles.ROLES)
        last[roles.ROLES.index("service_up")] = 0.0
        return last


def past(number: int, start: int) -> NDArray[np.float32]:
    """Two days of rows before `start`, from the recording."""
    recorded = history.recording()
    column = {name: index for index, name in enumerate(recorded.series)}
    at = np.arange(start - _PAST_S, start, _STEP_S, dtype=float)
    values = history.levels_at(recorded, number, at)
    made = []
    for row in values:
        # A rate is what a counter would have grown by in a second.
        now = {name: row[index] for name, index in column.items()}
        zero = {
            name: 0.0 if recorded.counts[index] else now[name] for name, index in column.items()
        }
        clock = {"node_time_seconds": 1.0, "node_boot_time_seconds": 0.0}
        made.append(roles.levels(zero | clock | {"node_time_seconds": 0.0}, now | clock))
    return np.asarray(made, np.float32)


def find_alerts(lab: Lab, total_bytes: float) -> Iterator[dict[str, object]]:
    """The moments at which a rule fired, with their labels, by target and time."""
    for name, rows in lab.rows.items():
        values = np.asarray(rows)
        fired: list[tuple[float, str, str, int]] = []
        for rule, role, side, threshold, hold in _RULES:
            series = values[:, roles.ROLES.index(role)] * side
            bound = threshold * side * (total_bytes if role == "memory_used_effective" else 1)
            over = np.convolve(series > bound, np.ones(hold), "full")[: len(series)] >= hold
            starts = np.flatnonzero(over & ~np.roll(over, 1))
            fired += [(lab.start + _STEP_S * int(row), rule, role, side) for row in starts]
        quiet_until = 0.0
        for at, rule, role, side in sorted(fired):
            if at < quiet_until:
                continue
            quiet_until = at + _QUIET_S
            kind = label_at(lab.events, name, at)
            yield {
                "id": f"{name}-{at}",
                "target": name,
                "time": at,
                "alertname": rule,
                "roles": [role],
                "direction": ["high" if side > 0 else "low"],
                "label": "incident" if kind in INCIDENTS else "benign",
                "kind": kind,
                # Its machines are siblings: those of one group, in one recording.
                "group": f"{_GROUP}-{lab.start}",
            }


def label_at(events: Sequence[Event], target: str, at: float) -> str:
    """What was going on there, or `natural`."""
    for event in events:
        if event.target in (None, target) and event.began <= at <= event.ended + _REST_S:
            return event.kind
    return "natural"


def write(lab: Lab, out: Path) -> None:
    """In the format of labelled sets, without patches."""
    (out / "targets").mkdir(parents=True, exist_ok=True)
    for number, (name, rows) in enumerate(lab.rows.items()):
        values = np.concatenate([past(number, lab.start), np.asarray(rows, np.float32)])
        np.savez_compressed(
            out / "targets" / f"{name}.npz",
            X=values,
            roles=np.array(roles.ROLES),
            start=np.int64(lab.start - _PAST_S),
            step_s=np.int64(_STEP_S),
        )
    recorded = history.recording()
    total = recorded.day[0, 0, recorded.series.index("node_memory_MemTotal_bytes")]
    alerts = [json.dumps(alert) + "\n" for alert in find_alerts(lab, float(total))]
    (out / "alerts.jsonl").write_text("".join(alerts))
    (out / "set.json").write_text('{"siblings": "group", "targets": "targets"}\n')
    none = np.zeros(0, np.int32)
    np.savez_compressed(
        out / "patches.npz",
        alert=none,
        role=none.astype(np.int16),
        start=none,
        offset=none.astype(np.int64),
        length=none,
        values=none.astype(np.float32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the new folder of the set")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=options.seed, sizes={_GROUP: _SIZE})
    lab = Lab(fleet, random.Random(options.seed))

    def run() -> None:
        try:
            lab.run(options.minutes)
        finally:
            fleet.stop()

    threading.Thread(target=run, daemon=True).start()
    fleet.serve()
    write(lab, options.out)


if __name__ == "__main__":
    main()
