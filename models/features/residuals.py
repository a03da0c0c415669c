"""The distance of each role from its usual level in the target's own past.

The past lies on a grid of 5-minute slots counted back from the alert, so that roles with different
gaps can be compared. A gap is NaN and is left out of every statistic.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Series
from models.features.signals import ROLES, Role

SLOT_S = 300.0
DAY_S = 86_400.0
# Bounds the grid's size, because an answer may have any times.
_OLDEST_S = 15 * DAY_S
# "At this hour" means within `HOUR_S` of the alert's time of day, or `_WIDE_HOUR_S` if data is
# scarce.
HOUR_S = 1_200.0
_WIDE_HOUR_S = 7_200.0
# The present is the median of the last `NOW_S`. A scraped target has a sample at the very moment of
# the query; if the newest is older than `STALE_S`, the target does not answer.
NOW_S = 15.0
STALE_S = 8.0
# From `MOVED_Z` on a role has moved, below `NORMAL_Z` it has not; in between is unknown.
NORMAL_Z = 3.0
MOVED_Z = 4.0
# From this deviation on, disk work in the past counts as a job.
_JOB_Z = 6.0
_RELATIVE_NOISE = 0.05
_SIGMA_OF_MAD = 1.4826
_ENOUGH_AT_THIS_HOUR = 12
DISK = ("disk_read_bytes", "disk_write_bytes", "disk_util")

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A role's present compared with its past.

    `usual` is the median around this hour on earlier days, without times of heavy disk work; if too
    little data is left, the median of all days. `sigma` is the robust deviation of the same data,
    with a floor. `share_below` is the share of the whole past below the present.
    """

    role: Role
    now: float
    usual: float
    sigma: float
    share_below: float

    @property
    def z(self) -> float:
        return (self.now - self.usual) / self.sigma

    @property
    def growth(self) -> float:
        """Relative change: 1.0 is a doubling."""
        return (self.now - self.usual) / max(abs(self.usual), self.role.noise)

    @property
    def normal(self) -> bool:
        return abs(self.z) < NORMAL_Z or abs(self.now - self.usual) < self.role.step

    @property
    def direction(self) -> int:
        """1 if the role has risen, -1 if it has fallen, 0 if it has not moved."""
        if abs(self.z) < MOVED_Z or self.normal:
            return 0
        return 1 if self.z > 0 else -1


@dataclass(frozen=True, kw_only=True)
class PastGrid:
    """The target's history on the grid: `values[role]` by slot, slot 0 the newest.

    `age` is a slot's age in seconds, `off_hour` its distance from the alert's time of day (infinite
    for today), `job` marks times of heavy disk work.
    """

    values: Mapping[str, Floats]
    age: Floats
    off_hour: Floats
    job: Flags

    @property
    def this_hour(self) -> Flags:
        return self.off_hour <= HOUR_S

    @property
    def days(self) -> NDArray[np.int64]:
        """The earlier day of each slot near this hour: 1 is yesterday."""
        return np.rint(self.age / DAY_S).astype(np.int64)

    def covered_s(self, role: str) -> float:
        """Seconds of the past in which the role has values."""
        values = self.values.get(role)
        return 0.0 if values is None else float(np.count_nonzero(np.isfinite(values))) * SLOT_S


def past(history: Mapping[str, Series], at: float) -> PastGrid:
    columns = {
        name: samples_until(series, at, since=at - _OLDEST_S)
        for name, series in history.items()
        if name in ROLES
    }
    oldest = max((at - times[0] for times, _ in columns.values() if len(times)), default=0.0)
    slots = int(oldest // SLOT_S) + 1
    values = {name: _on_grid(*column, at, slots) for name, column in columns.items()}
    age = (np.arange(slots, dtype=np.float64) + 0.5) * np.float64(SLOT_S)
    off = np.abs((age + DAY_S / 2) % DAY_S - DAY_S / 2)
    return PastGrid(
        values=values,
        age=age,
        off_hour=np.where(age > DAY_S / 2, off, np.inf),
        job=_job(values, slots),
    )


def residuals(before: PastGrid, recent: Mapping[str, Series], at: float) -> dict[str, Residual]:
    """The residual of each role with a known present and a known past."""
    by_role: dict[str, Residual] = {}
    for name, values in before.values.items():
        times, latest = samples_until(recent.get(name, Series()), at)
        if not len(times) or times[-1] < at - STALE_S or not np.isfinite(values).any():
            continue
        now = float(np.median(latest[times > times[-1] - NOW_S]))
        by_role[name] = _residual(ROLES[name], now, before, latest)
    return by_role


def _residual(role: Role, now: float, before: PastGrid, latest: Floats) -> Residual:
    values = before.values[role.name]
    chosen = values[_comparable(values, before)]
    usual = float(np.median(chosen))
    spread = _SIGMA_OF_MAD * float(np.median(np.abs(chosen - usual)))
    # Means over minutes are smoother than single scrapes, so the scrapes' jitter is another floor.
    jitter = _SIGMA_OF_MAD * float(np.median(np.abs(np.diff(latest)))) if len(latest) > 1 else 0.0
    sigma = max(spread, jitter, _RELATIVE_NOISE * abs(usual), role.noise)
    known = values[np.isfinite(values)]
    below = float(np.mean(known < now))
    return Residual(role=role, now=now, usual=usual, sigma=sigma, share_below=below)


def _comparable(values: Floats, before: PastGrid) -> Flags:
    """The slots to compare the present with, from the narrowest hour that has enough slots.

    Hours of a job are left out, so that a runaway process in the hour of the nightly backup is not
    taken for the backup.
    """
    known = np.isfinite(values)
    calm = known & ~before.job
    for within in (HOUR_S, _WIDE_HOUR_S):
        near = calm & (before.off_hour <= within)
        if np.count_nonzero(near) >= _ENOUGH_AT_THIS_HOUR:
            return near
    return calm if calm.any() else known


def _job(values: Mapping[str, Floats], slots: int) -> Flags:
    busy = np.zeros(slots, dtype=np.bool_)
    for name in DISK:
        column = values.get(name)
        if column is None or not np.isfinite(column).any():
            continue
        usual = float(np.nanmedian(column))
        spread = _SIGMA_OF_MAD * float(np.nanmedian(np.abs(column - usual)))
        sigma = max(spread, _RELATIVE_NOISE * usual, ROLES[name].noise)
        busy |= column > usual + max(_JOB_Z * sigma, ROLES[name].step)
    # The slots next to a job contain its start and its end.
    busy[1:] |= busy[:-1].copy()
    busy[:-1] |= busy[1:].copy()
    return busy


def samples_until(series: Series, at: float, *, since: float = 0.0) -> tuple[Floats, Floats]:
    """Times and values up to a moment, in order, without NaN and infinity."""
    times = np.asarray(series.times, dtype=np.float64)
    values = np.asarray(series.values, dtype=np.float64)
    kept = np.isfinite(values) & (times >= since) & (times <= at)
    order = np.argsort(times[kept], kind="stable")
    return times[kept][order], values[kept][order]


def _on_grid(times: Floats, values: Floats, at: float, slots: int) -> Floats:
    grid = np.full(slots, np.nan)
    grid[((at - times) // SLOT_S).astype(np.int64)] = values
    return grid
