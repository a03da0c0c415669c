"""An alert's evidence on two grids of slots counted back from its moment.

Slot 0 is the newest, an unknown slot is NaN. Samples later than the moment are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence, Series
from models.features.row_stats import median
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
    roles = tuple(role for role in past if len(past[role].times))
    older = _Columns(evidence.at, MOST_SLOTS * SLOT_S)
    newer = _Columns(evidence.at, RECENT_SLOTS * _RECENT_S)
    columns = [older.read(past[role]) for role in roles]
    oldest = max((times.oldest for times, _ in columns), default=0.0)
    slots = min(int(oldest // SLOT_S) + 1, MOST_SLOTS)
    history = np.full((len(roles), slots), np.nan)
    recent = np.full((len(roles), RECENT_SLOTS), np.nan)
    now = np.full(len(roles), np.nan)
    floors = np.zeros(len(roles))
    for row, (role, (times, values)) in enumerate(zip(roles, columns, strict=True)):
        times.means(values, SLOT_S, history[row])
        late, latest_values = newer.read(latest.get(role, Series()))
        late.means(latest_values, _RECENT_S, recent[row])
        now[row] = late.newest(latest_values)
        if np.isfinite(now[row]):
            recent[row, 0] = now[row]
        if not evidence.relative and role in ROLES:
            floors[row] = ROLES[role].noise
    peers = None
    if evidence.peers is not None:
        peers = np.full((len(evidence.peers), len(roles), 2), np.nan)
        for number, series in enumerate(evidence.peers.values()):
            peers[number] = _peer(series, roles, evidence.at)
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


class _Times:
    """The ages of samples, which all roles of an exporter share."""

    def __init__(self, age: Floats) -> None:
        self.age = age
        self.oldest = float(age.max()) if len(age) else 0.0
        youngest = float(age.min()) if len(age) else np.inf
        late = age < youngest + NOW_S if youngest <= STALE_S else np.zeros(len(age), np.bool_)
        self._late = np.flatnonzero(late)
        self._slots: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def newest(self, values: Floats) -> float:
        """The present value; NaN if the newest sample is too old."""
        late = sorted(values[self._late].tolist())
        return (late[(len(late) - 1) // 2] + late[len(late) // 2]) / 2 if late else np.nan

    def means(self, values: Floats, slot_s: float, row: Floats) -> None:
        """Write the mean of each slot into `row`; slots without samples keep their content."""
        if self._slots is None:
            index = np.minimum((self.age // slot_s).astype(np.int64), len(row) - 1)
            self._slots = index, np.bincount(index, minlength=len(row))
        index, count = self._slots
        total = np.bincount(index, weights=values, minlength=len(row))
        np.divide(total, count, out=row, where=count > 0)


class _Columns:
    """Samples no older than `length_s` and no later than the moment."""

    def __init__(self, at: float, length_s: float) -> None:
        self._at, self._length_s = at, length_s
        self._at_times = np.empty(0)
        self._kept = np.empty(0, np.bool_)
        self._times = _Times(np.empty(0))

    def read(self, series: Series) -> tuple[_Times, Floats]:
        times = np.asarray(series.times, dtype=np.float64)
        values = np.asarray(series.values, dtype=np.float64)
        # Most roles come from one scrape and have the times of the previous role.
        if not np.array_equal(times, self._at_times):
            age = self._at - times
            self._at_times, self._kept = times, (age >= 0) & (age < self._length_s)
            self._times = _Times(age[self._kept])
        finite = np.isfinite(values)
        if not finite.all():
            kept = self._kept & finite
            return _Times(self._at - times[kept]), values[kept]
        return self._times, values if self._kept.all() else values[self._kept]
