"""The workload of a simulated host: the rates and levels at a moment that drive its counters.

All are functions of time, so that one seed always gives the same history and present. A moment is
epoch seconds, a scalar or an array.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Moments: TypeAlias = NDArray[np.float64]

CPUS = 2
MEMORY_BYTES = 8 * 2**30
DISK_BYTES = 100 * 2**30
# Requests a second that keep one host fully busy.
CAPACITY = 200.0
_DAY_S = 86_400.0
_IDLE_BUSY = 0.05
_BUSY_MAX = 0.97
_USUAL = 60.0
_BATCH_BUSY = 0.93
_RUNAWAY_BUSY = 0.985


@dataclass(frozen=True, kw_only=True)
class Host:
    """The random parameters of one instance; `phase` and `lean` come from the fleet's seed."""

    instance_id: str
    group: str
    az: str
    address: str
    phase: float
    lean: float


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The load of a host: its requests a second, and the effect of each fault, from 0 to 1."""

    requests: Moments
    runaway: Moments
    batch: Moments
    leak: Moments = field(default_factory=lambda: np.zeros(()))
    fill: Moments = field(default_factory=lambda: np.zeros(()))
    hang: Moments = field(default_factory=lambda: np.zeros(()))
    wrong: Moments = field(default_factory=lambda: np.zeros(()))


def usual_requests(group: str, at: Moments) -> Moments:
    """Requests a second that a member of the group gets on a usual day."""
    shift = sum(group.encode()) % 5 * 3600
    daily = np.sin(2 * math.pi * (at + shift) / _DAY_S)
    weekly = np.sin(2 * math.pi * at / (7 * _DAY_S))
    slow = np.sin(2 * math.pi * at / 4_100 + shift)
    return np.asarray(_USUAL * (1 + 0.22 * daily + 0.04 * weekly + 0.03 * slow))


def served(host: Host, requests: Moments, at: Moments) -> Moments:
    """The requests that this host serves: a little more or less than its siblings, with noise."""
    ripple = np.sin(2 * math.pi * at / 97 + host.phase) + np.sin(2 * math.pi * at / 331 + host.lean)
    return np.asarray(requests * (1 + 0.03 * host.lean + 0.025 * ripple))


def levels(host: Host, workload: Workload, at: Moments) -> Mapping[str, Moments]:
    """Levels and rates (per second) by name; `cpu_*` are shares of all CPUs."""
    requests = served(host, workload.requests, at)
    hang, leak, fill = workload.hang, workload.leak, workload.fill
    own = requests * (1 - hang)
    # A host that lacks memory swaps, and waits for its disk.
    swapping = np.maximum(leak - 0.85, 0) / 0.15
    wanted = _IDLE_BUSY + 0.92 * own / CAPACITY
    serving = np.minimum(wanted, _BUSY_MAX)
    batch, runaway = workload.batch, workload.runaway
    iowait = 0.01 + 0.14 * batch + 0.12 * swapping
    with_batch = serving + batch * np.maximum(_BATCH_BUSY - serving - iowait, 0)
    busy = with_batch + runaway * np.maximum(_RUNAWAY_BUSY - with_batch - iowait, 0)
    full = fill >= 1
    answered = np.minimum(own, CAPACITY * _BUSY_MAX) * (1 - 0.04 * runaway) * (1 - 0.5 * full)
    answered = answered * (1 - 0.9 * workload.wrong)
    system = 0.12 * serving
    crowd = np.maximum(wanted - 0.9, 0) * 20 + 3.0 * runaway + 2.0 * batch
    written = 2e5 + 3e3 * own + 4.0e7 * batch + 6e7 * ((fill > 0) & (fill < 1))
    read = 1e5 + 1e3 * own + 6.0e7 * batch
    used = 0.38 + 0.05 * own / CAPACITY + 0.04 * batch + 0.01 * np.sin(at / 5_000 + host.phase)
    used = np.minimum(used + 0.57 * leak, 0.985)
    return {
        "cpu_user": np.maximum(busy - system, 0),
        "cpu_system": system,
        "cpu_iowait": iowait,
        "runnable": CPUS * (busy + iowait) + crowd,
        "memory_used": MEMORY_BYTES * used,
        "disk_used": DISK_BYTES
        * np.minimum(0.45 + 0.03 * np.sin(2 * math.pi * at / (9 * _DAY_S)) + 0.53 * fill, 0.98),
        "read_bytes": read,
        "written_bytes": written,
        "reads": read / 65_536,
        "writes": written / 65_536,
        "io_time": np.minimum(0.02 + 0.8 * batch, 1.0),
        "rx_bytes": 2_000 * own + 5_000,
        "tx_bytes": 20_000 * answered + 5_000,
        "rx_packets": 12 * own + 20,
        "tx_packets": 18 * answered + 20,
        "opens": 0.5 * own + 0.2,
        "swapped": 400 * swapping,
        "established": 1.5 * requests + 10 + 40 * runaway,
        "time_wait": 2.0 * own + 5,
        "retransmits": 0.02 * own + 0.05,
        "resets": 0.01 * own + 0.01,
        "answered": answered,
        "errors": 0.001 * answered
        + np.maximum(own - CAPACITY * _BUSY_MAX, 0)
        + requests * hang
        + 0.5 * own * full
        + 0.9 * own * workload.wrong,
        "latency_s": 0.04 / (1 - np.minimum(busy + iowait, 0.985)) + 30 * hang + 2 * swapping,
        "service_up": 1.0 - hang,
        "utilisation": wanted,
    }
