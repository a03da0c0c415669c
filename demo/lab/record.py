"""Records a day of real machines into recorded.npz: `python -m demo.lab.record`."""

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.lab.readings import Reading, find_counters, parse
from demo.machines import history
from demo.machines.fleet import MachineFleet

_GROUP, _SIZE, _SEED = "web-asg", 4, 11
_DAY_S = 86_400.0
# How long a recorded day takes, how long the job is recorded, and the time between two readings.
_LASTS_S, _JOB_S, _STEP_S = 240.0, 100.0, 5.0
_WARM_UP_S = 20.0
_JOBS = 2


class Recorder:
    """Reads every machine at a steady pace."""

    def __init__(self, fleet: MachineFleet) -> None:
        self._fleet = fleet
        self.counters: set[str] = set()

    def read_for(self, seconds: float) -> list[list[Reading]]:
        """The readings by machine; one that does not answer is read again the next time."""
        names = [item["instance_id"] for item in self._fleet.truth()]
        readings: list[list[Reading]] = [[] for _ in names]
        until = at = time.monotonic()
        until += seconds
        while at < until:
            for name, own in zip(names, readings, strict=True):
                text = self._fleet.metrics(name)
                if text:
                    own.append(parse(text))
                    self.counters = self.counters or find_counters(text)
            at += _STEP_S
            time.sleep(max(0.0, at - time.monotonic()))
        return readings


def to_levels(
    readings: Sequence[Sequence[Reading]], series: Sequence[str], counts: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Rates of counters, by the machine's own clock, and values of gauges, as [machines, T, S]."""
    shortest = min(map(len, readings))
    made = []
    for own in readings:
        values = np.array([[reading[name] for name in series] for reading in own[:shortest]])
        clock = np.array([reading["node_time_seconds"] for reading in own[:shortest]])
        rates = np.diff(values, axis=0) / np.diff(clock)[:, np.newaxis]
        made.append(np.where(counts, np.maximum(rates, 0), values[1:]))
    return np.asarray(made, np.float32)


@dataclass
class Day:
    """The callers' time: midnight when the recording begins, and again when it ends."""

    began: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return (time.time() - self.began) / _LASTS_S * _DAY_S


def record(fleet: MachineFleet, day_of_callers: Day, path: Path) -> None:
    fleet.begin(time.time())
    time.sleep(_WARM_UP_S)
    day_of_callers.began = time.time()
    recorder = Recorder(fleet)
    day = recorder.read_for(_LASTS_S)
    # Two at a time: two processors would be shared by more.
    for item in fleet.truth()[:_JOBS]:
        fleet.inject(item["instance_id"], "batch_job")
    time.sleep(_WARM_UP_S)
    job = recorder.read_for(_JOB_S)[:_JOBS]
    every = (reading for own in (*day, *job) for reading in own)
    common = set.intersection(*(set(reading) for reading in every))
    series = sorted(filter(history.is_recorded, common))
    counts = np.array([name in recorder.counters for name in series])
    np.savez_compressed(
        path,
        series=np.array(series),
        counts=counts,
        day=to_levels(day, series, counts),
        job=to_levels(job, series, counts),
    )


def main(path: Path = history.FILE) -> None:
    day = Day()
    fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=_SEED, sizes={_GROUP: _SIZE}, day=day)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            record(fleet, day, path)
        except Exception as error:
            failures.append(error)
            raise
        finally:
            fleet.stop()

    threading.Thread(target=run, daemon=True).start()
    fleet.serve()
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
