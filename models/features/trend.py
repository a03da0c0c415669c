"""The course of each role up to the present: a new process makes it jump, a leak slowly climb."""

import numpy as np
from numpy.typing import NDArray

from models.features.row_stats import SortedRows, known_or, median
from models.features.window import DAY_SLOTS, Window

Floats = NDArray[np.float64]

# Every third moment of the past suffices to measure a role's usual changes.
_EVERY = 3
_SMOOTH = 5
_MINUTES = (20, 45)
_LEAST_KNOWN = 4
# The slots of five minutes over which a role's change is compared with its usual changes.
_TURNS = {"quarter": 3, "half": 6, "turn": 12}
NAMES = ("straight", "recent_jump", *_TURNS, "local", "line20", "line45")


def trends(window: Window, sigma: Floats, ordered: SortedRows) -> dict[str, Floats]:
    """The columns `NAMES`, an entry for each role."""
    history, recent, now, floors = window.history, window.recent, window.now, window.floors
    five = known_or(median(recent[:, :_SMOOTH]), now)
    top, bottom = ordered.at(0.999), ordered.at(0.001)
    # A smaller change does not count.
    least = np.maximum(0.02 * sigma, floors)
    return {
        "straight": _straight(history, now, sigma),
        "recent_jump": _recent_jump(recent, sigma),
        **{name: _turn(history, five, least, slots) for name, slots in _TURNS.items()},
        "local": _local(recent, five, np.maximum(least, 2e-3 * (top - bottom))),
        **_lines(recent, five, sigma),
    }


def _straight(history: Floats, now: Floats, sigma: Floats) -> Floats:
    """The change since six hours ago as a share of all changes since; 1 means no step back."""
    hours = np.column_stack([now, history[:, 1:73]])
    steps = np.nan_to_num(hours[:, :-1] - hours[:, 1:])
    return np.asarray(steps.sum(axis=1) / np.maximum(np.abs(steps).sum(axis=1), sigma))


def _recent_jump(recent: Floats, sigma: Floats) -> Floats:
    """The largest change of one minute, as a share of that of two hours."""
    steps = np.nan_to_num(recent[:, :-1] - recent[:, 1:])
    way = steps.sum(axis=1)
    fastest = (steps * np.sign(way)[:, None]).max(axis=1)
    return np.asarray(np.clip(fastest / np.maximum(np.abs(way), sigma), 0, 3))


def _turn(history: Floats, five: Floats, least: Floats, slots: int) -> Floats:
    """The change over `slots`, relative to the role's usual changes in that time.

    The large ones among these count only if they go the same way: memory is freed at once, and a
    leak takes it slowly.
    """
    if history.shape[1] <= slots + DAY_SLOTS // 8:
        return np.full(len(five), np.nan)
    changes = history[:, 1:-slots:_EVERY] - history[:, 1 + slots :: _EVERY]
    way = five - history[:, slots]
    usual = SortedRows(changes * np.where(way >= 0, 1.0, -1.0)[:, None])
    middle = (usual.at(0.75) - usual.at(0.25)) / 1.349
    scale = np.maximum.reduce([middle, usual.at(0.99) / 2.5, least])
    return np.asarray(np.arcsinh(way / scale))


def _local(recent: Floats, five: Floats, least: Floats) -> Floats:
    """The distance of the last minutes from the two hours before them."""
    before = recent[:, 40:]
    usual = known_or(median(before), median(recent))
    noise = 1.4826 * np.nan_to_num(median(np.abs(before - usual[:, None])))
    noise = np.maximum.reduce([noise, 2e-3 * np.abs(usual), least])
    return np.asarray(np.arcsinh((five - usual) / noise))


def _lines(recent: Floats, five: Floats, sigma: Floats) -> dict[str, Floats]:
    """Fits a straight line to the last minutes. Returns its rise relative to its residuals."""
    known = ~np.isnan(recent)
    values = np.nan_to_num((recent - five[:, None]) / sigma[:, None])
    columns: dict[str, Floats] = {}
    for minutes in _MINUTES:
        age = -np.arange(minutes, dtype=np.float64)
        weight, value = known[:, :minutes].astype(np.float64), values[:, :minutes]
        count = np.maximum(weight.sum(axis=1), 1)
        middle, mean = weight @ age / count, value.sum(axis=1) / count
        spread = np.maximum(weight @ age**2 / count - middle**2, 1e-9)
        slope = (value @ age / count - middle * mean) / spread
        off = np.maximum((value**2).sum(axis=1) / count - mean**2 - slope**2 * spread, 0)
        rise = np.where(weight.sum(axis=1) >= _LEAST_KNOWN, slope * minutes, np.nan)
        columns[f"line{minutes}"] = np.arcsinh(rise / (np.sqrt(off) + 0.02))
    return columns
