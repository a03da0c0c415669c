"""When a resource will run out: a robust line through its use, with an interval.

The slope is the median of the slopes of all pairs of samples, and its interval the order statistics
of these slopes (Theil 1950; Sen, "Estimates of the regression coefficient based on Kendall's tau",
1968). A third of the samples may be outliers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = Sequence[float] | NDArray[Any]

# Windows in samples, the shortest first: a fill of minutes shows in the first of them.
WINDOWS = (5, 20, 60, 120)
# A line is not continued over more than so many times its length.
_REACH = 8.0
# The share of the resource that a window must have risen by: less is jitter.
_LEAST_RISE = 0.005
# Of the normal distribution, for an interval of 95 %.
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Exhaustion:
    """Seconds until a resource is used up: the estimate, and the ends of its 95 % interval."""

    seconds: float
    earliest: float
    latest: float


def forecast(times: Samples, used: Samples, highest: float = 0.0) -> Exhaustion | None:
    """When `used`, a share of 1, reaches 1, from the newest sample on.

    `times` are epoch seconds in order, at roughly equal distances; `highest` is the most that was
    used in an earlier past. None where no window, from the shortest on, rises beyond doubt to its
    end and beyond what was used before it, or the moment is farther away than a window of that
    length can tell: a cache or a batch job that fills and empties again is no fault.
    """
    known = np.isfinite(np.asarray(used, dtype=np.float64))
    at, values = (np.asarray(samples, dtype=np.float64)[known] for samples in (times, used))
    for length in WINDOWS:
        if len(values) < length:
            return None
        before = max(highest, float(values[:-length].max(initial=0.0)))
        found = _of_window(at[-length:], values[-length:]) if values[-1] > before else None
        if found is not None:
            return found
    return None


def _of_window(at: Floats, used: Floats) -> Exhaustion | None:
    slope, low, high = robust_slope(at, used)
    length = at[-1] - at[0]
    if low <= 0 or slope * length < _LEAST_RISE:
        return None
    # Stopped, or falling: what rose earlier in the window does not rise any more.
    newest = max(len(at) // 4, 3)
    if robust_slope(at[-newest:], used[-newest:])[0] < slope / 2:
        return None
    middle = float(np.median(used - slope * (at - at[-1])))
    left = max(1.0 - middle, 0.0)
    if left / slope > _REACH * length:
        return None
    return Exhaustion(seconds=left / slope, earliest=left / high, latest=left / low)


def robust_slope(at: Floats, used: Floats) -> tuple[float, float, float]:
    """The slope a second, and the ends of its 95 % interval."""
    first, second = _pairs(len(at))
    slopes = np.sort((used[second] - used[first]) / (at[second] - at[first]))
    count, samples = len(slopes), len(at)
    spread = _Z * np.sqrt(samples * (samples - 1) * (2 * samples + 5) / 18)
    low = max(round((count - spread) / 2) - 1, 0)
    high = min(round((count + spread) / 2), count - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


@lru_cache(maxsize=2 * len(WINDOWS))
def _pairs(samples: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(samples, 1)
