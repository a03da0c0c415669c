"""The target's distance from its own past in plain deviations, not in asinh.

On labels of real machines the distance to the 30th nearest moment of the own past ranked alerts
better than any other single number. Nothing is learned of it.
"""

import numpy as np
from numpy.typing import NDArray

from models.features.baselines import NEWEST_LEFT_OUT, Levels
from models.features.row_stats import known_or, kth, quantile
from models.features.window import Window

Floats = NDArray[np.float64]

NAMES = ("size_ratio", "apart_ratio", "near30_flat", "near30_steep")
_STILL = 1e-6
_CLIP = 8.0


def distances(window: Window, levels: Levels) -> tuple[float, ...]:
    """The features `NAMES`; `window` has the roles of `levels`."""
    past, newest = window.history[:, NEWEST_LEFT_OUT:], window.history[:, 0]
    bottom, top = levels.ordered.at(0), levels.ordered.at(1)
    still = past.std(axis=1) if levels.known.all() else np.nanstd(past, axis=1)
    spread = still + 1e-3 * (top - bottom)
    moves = still > _STILL * np.maximum(np.abs(levels.middle), still)
    if not moves.any():
        return (np.nan,) * len(NAMES)
    usual, spread = levels.middle[moves], spread[moves]
    points = np.nan_to_num((past[moves] - usual[:, None]) / spread[:, None])
    now = (known_or(newest, levels.now)[moves] - usual) / spread
    sizes = np.sqrt((np.clip(points, -_CLIP, _CLIP) ** 2).mean(axis=0))
    size = float(np.sqrt((np.clip(now, -_CLIP, _CLIP) ** 2).mean()))
    return (
        size / max(quantile(sizes, 0.99), 1e-3),
        # A deviation too small to count is none, wherever units are known.
        _apart(points, now, spread / np.maximum(spread, window.floors[moves])),
        _near(points, now, 3.0),
        _near(points, now, 30.0),
    )


def _apart(points: Floats, now: Floats, counted: Floats) -> float:
    """Mahalanobis' distance of `now`: log10 of its square, with that of the farthest 1 % as 1."""
    roles, slots = points.shape
    points, now = points * counted[:, None], now * counted
    precise = np.linalg.inv(points @ points.T / slots + 0.05 * np.eye(roles))
    apart = ((precise @ points) * points).sum(axis=0)
    off = float(now @ precise @ now)
    return float(np.log10(off / max(quantile(apart, 0.99), 1e-3) + 1e-3))


def _near(points: Floats, now: Floats, clip: float) -> float:
    """The distance to the 30th nearest moment, of which no role counts for more than `clip`."""
    apart = np.clip(points, -clip, clip) - np.clip(now, -clip, clip)[:, None]
    return kth(np.abs(apart).mean(axis=0), 30)
