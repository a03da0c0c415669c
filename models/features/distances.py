"""The target's distance from its own past in plain deviations, not in asinh.

On labels of real machines the distance to the 30th nearest moment of the own past ranked alerts
better than any other single number.
"""

import numpy as np
from numpy.typing import NDArray

from models.features.baselines import Levels
from models.features.row_stats import known_or, kth, quantile

Floats = NDArray[np.float64]

NAMES = (
    "far_share",
    "further_share",
    "beyond_mean",
    "size",
    "size_ratio",
    "size_rank",
    "apart",
    "apart_ratio",
    "apart_rank",
    "near5",
    "near30",
    "near30_flat",
    "near30_steep",
    "past_size",
    "past_size_high",
)
_STILL = 1e-6
_FAR_SD = 3
_CLIP = 8.0


def distances(past: Floats, newest: Floats, levels: Levels) -> tuple[float, ...]:
    """The features `NAMES`, from `past` [roles, slots] and the `newest` slot of each role."""
    ordered, usual = levels.ordered, levels.middle
    bottom, top = ordered.at(0), ordered.at(1)
    still = past.std(axis=1) if levels.known.all() else np.nanstd(past, axis=1)
    spread = still + 1e-3 * (top - bottom)
    moves = still > _STILL * np.maximum(np.abs(usual), still)
    if not moves.any():
        return (np.nan,) * len(NAMES)
    usual, spread = usual[moves], spread[moves]
    points = np.nan_to_num((past[moves] - usual[:, None]) / spread[:, None])
    now = (known_or(newest, levels.now)[moves] - usual) / spread
    high = (ordered.at(0.995)[moves] - usual) / spread
    low = (ordered.at(0.005)[moves] - usual) / spread
    beyond = np.maximum(now - high, low - now)
    far = np.abs(now)
    return (
        float((far > _FAR_SD).mean()),
        float((far > 2 * _FAR_SD).mean()),
        float(np.maximum(np.arcsinh(beyond), 0).mean()),
        *_measured(points, now),
    )


def _measured(points: Floats, now: Floats) -> tuple[float, ...]:
    """The features from `size` on, in the order of `NAMES`."""
    roles, slots = points.shape
    clipped, own = np.clip(points, -_CLIP, _CLIP), np.clip(now, -_CLIP, _CLIP)
    sizes = np.sqrt((clipped**2).mean(axis=0))
    size = float(np.sqrt((own**2).mean()))
    high = quantile(sizes, 0.99)
    precise = np.linalg.inv(points @ points.T / slots + 0.05 * np.eye(roles))
    apart = ((precise @ points) * points).sum(axis=0)
    off = float(now @ precise @ now)
    near = np.sqrt(((clipped - own[:, None]) ** 2).mean(axis=0))
    return (
        size,
        size / max(high, 1e-3),
        _rank(sizes, size),
        float(np.log10(off / roles + 1e-3)),
        float(np.log10(off / max(quantile(apart, 0.99), 1e-3) + 1e-3)),
        _rank(apart, off),
        kth(near, 5),
        kth(near, 30),
        _near(points, now, 3.0),
        _near(points, now, 30.0),
        quantile(sizes, 0.5),
        high,
    )


def _rank(past: Floats, value: float) -> float:
    """-log10 of the share of the past that is at least as large."""
    return -float(np.log10((np.count_nonzero(past >= value) + 1) / (len(past) + 1)))


def _near(points: Floats, now: Floats, clip: float) -> float:
    apart = np.clip(points, -clip, clip) - np.clip(now, -clip, clip)[:, None]
    return kth(np.abs(apart).mean(axis=0), 30)
