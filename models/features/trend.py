"""The course of each role up to the present: a new process makes it jump, a leak slowly climb."""

import numpy as np
from numpy.typing import NDArray

from models.features.row_stats import SortedRows, known_or, median
from models.features.window import DAY_SLOTS, Window

Floats = NDArray[np.float64]

# Every third moment of the past suffices to measure a role's usual changes.
_EVERY = 3
_SMOOTH = 5
# The slots of five minutes over which a role's change is compared with its usual changes.
_TURNS = {"quarter": 3, "half": 6, "turn": 12}
NAMES = ("straight", "recent_jump", *_TURNS, "local")


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
