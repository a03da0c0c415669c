"""A synthetic fleet: a target and five siblings, and what faults do to their metrics."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.features.evidence import Evidence, Series
from models.inference import detector
from models.inference.artifact import load_shipped
from models.inference.verdict import Verdict

AT = 1_760_000_000.0
DAY = 86_400.0
TARGET = "i-00000000000000001"
CPU = ("cpu_busy",)
_MODEL = load_shipped()

Level = Callable[[np.ndarray], np.ndarray]
# A fault's effect on roles: what their values become.
RUNAWAY: dict[str, Level] = {"cpu_busy": lambda v: np.full_like(v, 0.98)}
SURGE: dict[str, Level] = {
    "cpu_busy": lambda v: np.full_like(v, 0.95),
    "net_rx_bytes": lambda v: v * 3,
    "net_tx_bytes": lambda v: v * 3,
    "tcp_established": lambda v: v * 3,
}
BATCH: dict[str, Level] = {
    "cpu_busy": lambda v: np.full_like(v, 0.93),
    "disk_read_bytes": lambda v: v + 25e6,
    "disk_write_bytes": lambda v: v + 40e6,
    "disk_util": lambda v: np.full_like(v, 0.7),
}


def healthy(times: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A quiet instance: traffic follows the day, CPU follows traffic."""
    n = len(times)
    traffic = (1 + 0.35 * np.sin(2 * np.pi * times / DAY)) * rng.normal(1, 0.06, n)
    return {
        "cpu_busy": 0.08 + 0.22 * traffic + rng.normal(0, 0.015, n),
        "load1": 0.6 * traffic,
        "memory_used_effective": 1.4e9 + 3e8 * traffic,
        "disk_read_bytes": 5e4 * rng.normal(1, 0.3, n).clip(0),
        "disk_write_bytes": 2e5 * rng.normal(1, 0.2, n).clip(0),
        "disk_util": 0.02 + rng.normal(0, 0.005, n).clip(-0.02),
        "net_rx_bytes": 1.2e6 * traffic,
        "net_tx_bytes": 3e6 * traffic,
        "tcp_established": np.round(120 * traffic),
    }


def changed(
    values: dict[str, np.ndarray], where: np.ndarray, fault: dict[str, Level]
) -> dict[str, np.ndarray]:
    result = {role: column.copy() for role, column in values.items()}
    for role, level in fault.items():
        result[role][where] = level(result[role][where])
    return result


def series(times: np.ndarray, values: dict[str, np.ndarray]) -> dict[str, Series]:
    return {role: Series(times.tolist(), column.tolist()) for role, column in values.items()}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A target and five siblings; `now` is what changed `for_s` seconds ago."""

    seed: int = 1
    now: dict[str, Level] | None = None
    peers_now: dict[str, Level] | None = None
    peers_with_it: int = 5
    for_s: float = 12.0
    past_days: float = 7.0
    job_days: tuple[int, ...] = ()
    job: dict[str, Level] = field(default_factory=lambda: BATCH)


def evidence(**changes: Any) -> Evidence:
    """The evidence of a `Scenario` with these fields."""
    scenario = Scenario(**changes)
    for_s, peers_now = scenario.for_s, scenario.peers_now
    rng = np.random.default_rng(scenario.seed)
    old = np.arange(AT - scenario.past_days * DAY, AT + 1, 300.0)
    history = healthy(old, rng)
    for day in scenario.job_days:
        during = np.abs(old - (AT - day * DAY)) < 3_600
        history = changed(history, during, scenario.job)
    late = np.concatenate([np.arange(AT - 7_200, AT - 115, 15), np.arange(AT - 115, AT + 1, 5)])
    recent = changed(healthy(late, rng), late >= AT - for_s, scenario.now or {})
    half_hour = np.arange(AT - 1_800, AT + 1, 30.0)
    peers = {}
    for k in range(5):
        fault = peers_now if peers_now and k < scenario.peers_with_it else {}
        values = changed(healthy(half_hour, rng), half_hour >= AT - for_s, fault)
        peers[f"i-0000000000000001{k}"] = series(half_hour, values)
    return Evidence(
        target=TARGET,
        at=AT,
        history=series(old, history),
        recent=series(late, recent),
        peers=peers,
    )


def judge(seen: Evidence, roles: Collection[str] = ()) -> Verdict:
    """The verdict of the shipped model."""
    return detector.judge(_MODEL, seen, roles)
