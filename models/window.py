"""An alert's evidence on two grids counted back from its moment, so that roles line up.

Slot 0 is the newest. What is not known is NaN. Samples later than the moment never enter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evidence import Evidence, Series
from models.roles import ROLES

Floats = NDArray[np.float64]

SLOT_S = 300.0
DAY_SLOTS = 288
MOST_SLOTS = 15 * DAY_SLOTS
RECENT_SLOTS = 120
_RECENT_S = 60.0
SETTLED_SLOTS = 5
# The present is the median of so much, and unknown where the newest sample is older than
# `STALE_S`: a target that is scraped has a sample at the very moment of asking.
NOW_S = 15.0
STALE_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """Rows are roles, columns slots of 5 minutes (`history`) or of a minute (`recent`).

    `now` is the present, `floors` a deviation that nobody would look up for, in the role's unit.
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
    """The evidence on its grids. Roles of which nothing is known are left out."""
    at = evidence.at
    past, latest = evidence.history or {}, evidence.recent or {}
    roles = tuple(role for role in past if len(past[role].times))
    columns = [_until(past[role], at, MOST_SLOTS * SLOT_S) for role in roles]
    oldest = max((at - float(times.min()) for times, _ in columns if len(times)), default=0.0)
    slots = min(int(oldest // SLOT_S) + 1, MOST_SLOTS)
    history = np.full((len(roles), slots), np.nan)
    recent = np.full((len(roles), RECENT_SLOTS), np.nan)
    now = np.full(len(roles), np.nan)
    floors = np.zeros(len(roles))
    for row, (role, (times, values)) in enumerate(zip(roles, columns, strict=True)):
        history[row] = _means(times, values, at, SLOT_S, slots)
        late, latest_values = _until(latest.get(role, Series()), at, RECENT_SLOTS * _RECENT_S)
        recent[row] = _means(late, latest_values, at, _RECENT_S, RECENT_SLOTS)
        if len(late) and (newest := float(late.max())) >= at - STALE_S:
            now[row] = np.median(latest_values[late > newest - NOW_S])
            recent[row, 0] = now[row]
        if not evidence.relative and np.isfinite(now[row]):
            # Rules fire on faults that are seconds old, and the model was taught on alerts that
            # are minutes old: it is asked what it would say if the present stayed as it is.
            recent[row, :SETTLED_SLOTS] = now[row]
            history[row, 0] = now[row]
        if not evidence.relative and role in ROLES:
            floors[row] = ROLES[role].noise
    return Window(roles=roles, history=history, recent=recent, now=now, floors=floors)


def _until(series: Series, at: float, length: float) -> tuple[Floats, Floats]:
    times = np.asarray(series.times, dtype=np.float64)
    values = np.asarray(series.values, dtype=np.float64)
    kept = np.isfinite(values) & (times <= at) & (times > at - length)
    if kept.all():
        return times, values
    return times[kept], values[kept]


def _means(times: Floats, values: Floats, at: float, slot_s: float, slots: int) -> Floats:
    index = ((at - times) // slot_s).astype(np.int64)
    index = np.minimum(index, slots - 1)
    count = np.bincount(index, minlength=slots)
    total = np.bincount(index, weights=values, minlength=slots)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
