"""An alert's evidence on two grids of slots counted back from its moment.

Slot 0 is the newest, an unknown slot is NaN. Samples later than the moment are left out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence, Series
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


@dataclass(frozen=True, kw_only=True)
class Window:
    """Rows are roles, columns slots of 5 minutes (`history`) or of a minute (`recent`).

    `now` is the present, `floors` the least deviation that counts, in the role's unit.
    """

    roles: tuple[str, ...]
    history: Floats
    recent: Floats
    now: Floats
    floors: Floats

    def only(self, kept: NDArray[np.bool_]) -> "Window":
        return Window(
            roles=tuple(role for role, keep in zip(self.roles, kept, strict=True) if keep),
            history=self.history[kept],
            recent=self.recent[kept],
            now=self.now[kept],
            floors=self.floors[kept],
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
            if not evidence.relative:
                # Rules fire on faults that are seconds old, but the model was trained on alerts
                # that are minutes old: the present value is copied to the newest minutes.
                recent[row, :SETTLED_SLOTS] = now[row]
                history[row, 0] = now[row]
        if not evidence.relative and role in ROLES:
            floors[row] = ROLES[role].noise
    return Window(roles=roles, history=history, recent=recent, now=now, floors=floors)


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
