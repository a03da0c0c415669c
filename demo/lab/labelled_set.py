"""`make lab`: a labelled set of an hour, from real machines that are broken on schedule.

`python -m demo.lab.labelled_set OUT --seed 1 --minutes 60` starts a group of six, and by the seed
has one of them at a time break, or do something harmless of the same size. Each is read every five
seconds. The alerts are those of the shipped thresholds; what was going on is their label. Each
series begins with two days of the recorded past (`recorded.npz`), the usual level of such machines.
With `--simulated` the set is one of the simulation, in virtual time.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.fleet.fleet import Fleet
from demo.fleet.workload import MEMORY_BYTES
from demo.lab import pasts, roles
from demo.lab.schedule import (
    BENIGN,
    GROUP,
    INCIDENTS,
    REST_S,
    SIMULATED,
    SIZE,
    STEP_S,
    Event,
    Lab,
)
from demo.machines import history
from demo.machines.fleet import MachineFleet

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
            fired += [(lab.start + STEP_S * int(row), rule, role, side) for row in starts]
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
                "group": f"{GROUP}-{lab.start}",
            }


def label_at(events: Sequence[Event], target: str, at: float) -> str:
    """What was going on there, or `natural`."""
    for event in events:
        if event.target in (None, target) and event.began <= at <= event.ended + REST_S:
            return event.kind
    return "natural"


def write(lab: Lab, out: Path, before: Mapping[str, pasts.Rows], total_bytes: float) -> None:
    """In the format of labelled sets, without patches; `before` is the past of each machine."""
    (out / "targets").mkdir(parents=True, exist_ok=True)
    for name, rows in lab.rows.items():
        values = np.concatenate([before[name], np.asarray(rows, np.float32)])
        np.savez_compressed(
            out / "targets" / f"{name}.npz",
            X=values,
            roles=np.array(roles.ROLES),
            start=np.int64(lab.start - pasts.PAST_S),
            step_s=np.int64(STEP_S),
        )
    alerts = [json.dumps(alert) + "\n" for alert in find_alerts(lab, total_bytes)]
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


def record(out: Path, seed: int, minutes: float) -> None:
    """A set of real machines. Raises ProcessError, ToolsError."""
    fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=seed, sizes={GROUP: SIZE})
    lab = Lab(fleet, random.Random(seed))

    def run() -> None:
        try:
            lab.run(minutes)
        finally:
            fleet.stop()

    threading.Thread(target=run, daemon=True).start()
    fleet.serve()
    before = {name: pasts.of_machine(number, lab.start) for number, name in enumerate(lab.rows)}
    recorded = history.recording()
    total = recorded.day[0, 0, recorded.series.index("node_memory_MemTotal_bytes")]
    write(lab, out, before, float(total))


@dataclass
class _Clock:
    now: float

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def simulate(out: Path, seed: int, minutes: float) -> None:
    """A set of the simulation, in virtual time that begins now."""
    clock = _Clock(float(int(time.time())))
    fleet = Fleet(aws=Emulator(Core(clock)), seed=seed, speed=1.0)
    lab = Lab(
        fleet,
        random.Random(seed),
        incidents=INCIDENTS[: SIMULATED[0]],
        benign=BENIGN[: SIMULATED[1]],
        clock=clock,
        sleep=clock.sleep,
    )
    lab.run(minutes)
    before = {name: pasts.of_host(fleet.host(name), lab.start) for name in lab.rows}
    write(lab, out, before, float(MEMORY_BYTES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the new folder of the set")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--simulated", action="store_true")
    options = parser.parse_args()
    make = simulate if options.simulated else record
    make(options.out, options.seed, options.minutes)


if __name__ == "__main__":
    main()
