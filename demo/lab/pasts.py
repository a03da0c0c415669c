"""Two days before a set, in which nothing was wrong: the usual level of each machine."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from demo.fleet.node_exporter import past
from demo.fleet.workload import Host, Workload, levels, usual_requests
from demo.lab import roles
from demo.lab.schedule import STEP_S
from demo.machines import history

PAST_S = 2 * 86_400

Rows = NDArray[np.float32]


def of_machine(number: int, start: int) -> Rows:
    """Rows before `start`, from the recording (`recorded.npz`)."""
    at = np.arange(start - PAST_S, start, STEP_S, dtype=float)
    return np.asarray(history.levels_at(_recorded_roles(), number, at), np.float32)


@functools.cache
def _recorded_roles() -> history.Recording:
    """The recorded day by roles in place of series."""
    recorded = history.recording()
    day = [[_of_sample(recorded, sample) for sample in machine] for machine in recorded.day]
    return replace(recorded, series=roles.ROLES, day=np.asarray(day))


def _of_sample(recorded: history.Recording, sample: history.Array) -> Sequence[float]:
    """A rate is what a counter would have grown by in a second."""
    now = dict(zip(recorded.series, sample.tolist(), strict=True))
    zero = {
        name: 0.0 if counts else now[name]
        for name, counts in zip(recorded.series, recorded.counts, strict=True)
    }
    return _levels(zero | {"node_time_seconds": 0.0}, now | {"node_time_seconds": 1.0})


def of_host(host: Host, start: int) -> Rows:
    """Rows before `start`, as the simulation has them."""
    at = np.arange(start - PAST_S - STEP_S, start, STEP_S, dtype=float)
    nothing = np.zeros(at.shape)
    workload = Workload(
        requests=usual_requests(host.group, at), runaway=nothing, batch=nothing, hang=nothing
    )
    _, series = past(levels(host, workload, at), at, 0.0)
    columns = {name: np.broadcast_to(values, at.shape).tolist() for name, values in series}
    columns["node_time_seconds"] = at.tolist()
    names = list(columns)
    readings = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    made = [_levels(before, now) for before, now in pairwise(readings)]
    return np.asarray(made, np.float32)


def _levels(before: dict[str, float], now: dict[str, float]) -> Sequence[float]:
    booted = {"node_boot_time_seconds": 0.0}
    found = roles.levels(before | booted, now | booted)
    if found is None:
        raise ValueError("a past without a boot has a row for each moment")
    return found
