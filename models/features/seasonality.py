"""Counts earlier days with the same change at this hour: a change that recurs is a job.

A day with disk work that is missing now does not count: a runaway process in the hour of a nightly
job lacks its disk work.
"""

import numpy as np
from numpy.typing import NDArray

from models.features.baselines import MOVED, NEWEST_LEFT_OUT, Levels, same_hour
from models.features.window import DAY_SLOTS

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_WHAT = ("of_days", "focus", "rate", "count")
NAMES = tuple(f"all_{what}" for what in _WHAT)
# Slots of the present day: a change that lasts is no earlier one.
_TODAY = DAY_SLOTS // 2 - NEWEST_LEFT_OUT
# A job may start this much earlier or later each day.
_JOB_SLOTS = 6
_TOGETHER = 0.6
# From this deviation on, disk work of the past is that of a job.
_JOB_Z = 6.0
DISK = frozenset({"disk_read_bytes", "disk_write_bytes", "disk_util"})


def count_repeats(past: Floats, levels: Levels, lead: int) -> tuple[float, ...]:
    """The features `NAMES`, of most of the roles that moved; the leading one is among them."""
    moved = np.abs(levels.columns["now"]) >= MOVED
    idle = [k for k, role in enumerate(levels.roles) if role in DISK and not moved[k]]
    moved[lead] = True
    with np.errstate(invalid="ignore"):
        off = (past[idle] - levels.middle[idle, None]) / levels.scale[idle, None]
        working = (off >= _JOB_Z).any(axis=0)
    together = np.asarray(levels.beyond[moved].mean(axis=0) >= _TOGETHER) & ~working
    return _days(together, np.asarray(levels.known[moved].any(axis=0)))


def _days(hit: Flags, known: Flags) -> tuple[float, ...]:
    near = same_hour(len(hit), _JOB_SLOTS)
    days, of = (int(flags[near].any(axis=1).sum()) for flags in (hit, known))
    if not of:
        return (np.nan,) * len(_WHAT)
    hits = np.count_nonzero(hit[_TODAY:])
    focus = np.count_nonzero(hit[near]) / hits if hits else 0.0
    rate = np.log10((hits + 0.3) / np.count_nonzero(known[_TODAY:]))
    return days / of, focus, float(rate), float(days)
