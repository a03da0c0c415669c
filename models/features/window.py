"""An alert's evidence on two grids of slots counted back from its moment.

Slot 0 is the newest, an unknown slot is NaN. Samples later than the moment are left out.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence, Series
from models.features.row_stats import known_or, median, share
from models.features.signals import ROLES

Floats = NDArray[np.float64]

SLOT_S = 300.0
DAY_SLOTS = 288
MOST_SLOTS = 15 * DAY_SLOTS
RECENT_SLOTS = 120
_RECENT_S = 60.0
SETTLED_SLOTS = 5
# The present is the median of the last `NOW_S`, and unknown if the newest sample is older than
# `STALE_S`: a scraped target has a sample at the very moment of the query.
NOW_S = 15.0
STALE_S = 8.0
# A sibling's level before the alert; from so many samples on it is known.
_BEFORE_S = 180.0
_ENOUGH_SAMPLES = 10
# By how much rounded shares of a processor's time may differ, and in how many slots more.
_ROUNDED, _SELDOM = 0.05, 0.01


@dataclass(frozen=True, kw_only=True)
class Window:
    """Rows are roles, columns slots of 5 minutes (`history`) or of a minute (`recent`).

    `now` is the present, `floors` the least deviation that counts, in the role's unit. `peers`
    [siblings, roles, 2] has the siblings' present, and their level before; None is unknown.
    """

    roles: tuple[str, ...]
    history: Floats
    recent: Floats
    now: Floats
    floors: Floats
    peers: Floats | None = None

    def settled(self) -> "Window":
        """The present, as if it had lasted for minutes: rules fire on faults that are seconds old.

        An unknown present settles nothing.
        """
        known = np.isfinite(self.now)
        recent, history = self.recent.copy(), self.history.copy()
        recent[known, :SETTLED_SLOTS] = self.now[known, None]
        history[known, 0] = self.now[known]
        return replace(self, recent=recent, history=history)

    def only(self, kept: NDArray[np.bool_]) -> "Window":
        return Window(
            roles=tuple(role for role, keep in zip(self.roles, kept, strict=True) if keep),
            history=self.history[kept],
            recent=self.recent[kept],
            now=self.now[kept],
            floors=self.floors[kept],
            peers=None if self.peers is None else self.peers[:, kept],
        )


def window(evidence: Evidence) -> Window:
    """The evidence on its grids, without roles that have no samples."""
    past, latest = evidence.history or {}, evidence.recent or {}
    older = {role: _Samples.of(series, evidence.at) for role, series in past.items()}
    roles = tuple(role for role, samples in older.items() if len(samples.ages))
    newer = [_Samples.of(latest.get(role, Series()), evidence.at) for role in roles]
    history = np.array([older[role].means(SLOT_S, MOST_SLOTS) for role in roles])
    history = history.reshape(len(roles), MOST_SLOTS)
    oldest = np.flatnonzero(np.isfinite(history).any(axis=0)).max(initial=0)
    recent = np.array([samples.means(_RECENT_S, RECENT_SLOTS) for samples in newer])
    recent = recent.reshape(len(roles), RECENT_SLOTS)
    now = np.array([samples.newest() for samples in newer])
    recent[:, 0] = known_or(now, recent[:, 0])
    floors = np.zeros(len(roles))
    if not evidence.relative:
        floors = np.array([ROLES[role].noise if role in ROLES else 0.0 for role in roles])
    peers = None
    if evidence.peers is not None:
        peers = np.full((len(evidence.peers), len(roles), 2), np.nan)
        for number, series in enumerate(evidence.peers.values()):
            peers[number] = _peer(series, roles, evidence.at)
    history = history[:, : oldest + 1]
    whole = Window(roles=roles, history=history, recent=recent, now=now, floors=floors, peers=peers)
    _leave_out_waiting(whole)
    return whole if evidence.relative else whole.settled()


def _leave_out_waiting(grids: Window) -> None:
    """A processor that waits for a disk is not busy: a slow disk is no runaway process."""
    if not {"cpu_busy", "cpu_iowait"} <= set(grids.roles):
        return
    busy, waiting = grids.roles.index("cpu_busy"), grids.roles.index("cpu_iowait")
    more = grids.history[waiting] > grids.history[busy] + _ROUNDED
    # A part is never more than the whole: this role of the exporter has no waiting in it.
    if more.mean() > _SELDOM:
        return
    for table in (grids.history, grids.recent, grids.now):
        table[busy] -= np.nan_to_num(table[waiting])
    if grids.peers is not None:
        grids.peers[:, busy] -= np.nan_to_num(grids.peers[:, waiting])


def _peer(series: Mapping[str, Series], roles: tuple[str, ...], at: float) -> Floats:
    """A sibling's present and its median before, for each role."""
    levels = np.full((len(roles), 2), np.nan)
    known: dict[bytes, list[int]] = {}
    for row, role in enumerate(roles):
        if role in series and len(series[role].times):
            known.setdefault(np.asarray(series[role].times).tobytes(), []).append(row)
    for times, rows in known.items():
        ages = at - np.frombuffer(times)
        values = np.array([series[roles[row]].values for row in rows])
        values, ages = values[:, ages >= 0], ages[ages >= 0]
        older = values[:, ages > _BEFORE_S]
        if len(ages) and ages[-1] <= STALE_S and older.shape[1] >= _ENOUGH_SAMPLES:
            levels[rows, 0], levels[rows, 1] = values[:, -1], median(older)
    return levels


@dataclass(frozen=True)
class _Samples:
    """Known values, and their ages in seconds; none of the future."""

    ages: Floats
    values: Floats

    @classmethod
    def of(cls, series: Series, at: float) -> "_Samples":
        ages, values = at - np.asarray(series.times), np.asarray(series.values)
        known = (ages >= 0) & np.isfinite(values)
        return cls(ages[known], values[known])

    def newest(self) -> float:
        """The present value; NaN if the newest sample is too old."""
        youngest = self.ages.min(initial=np.inf)
        late = self.values[self.ages < youngest + NOW_S] if youngest <= STALE_S else []
        return statistics.median(late) if len(late) else np.nan

    def means(self, slot_s: float, slots: int) -> Floats:
        """The mean of each slot; NaN for a slot without samples."""
        index = np.minimum(self.ages / slot_s, slots).astype(np.int64)
        total, count = (
            np.bincount(index, weight, slots + 1)[:slots].astype(np.float64)
            for weight in (self.values, None)
        )
        return share(total, count)
