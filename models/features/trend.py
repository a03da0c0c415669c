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
NAMES = (
    "climb",
    "straight",
    "jump",
    "recent_jump",
    "quarter",
    "turn",
    "local",
    "steady",
    "abrupt",
    "line20",
    "line45",
)


def trends(window: Window, sigma: Floats, ordered: SortedRows) -> dict[str, Floats]:
    """The columns `NAMES`, an entry for each role."""
    history, recent, now, floors = window.history, window.recent, window.now, window.floors
    five = known_or(median(recent[:, :_SMOOTH]), now)
    top, bottom = ordered.at(0.999), ordered.at(0.001)
    # A smaller change does not count.
    least = np.maximum(0.02 * sigma, floors)
    course = _course(history, recent, now, sigma)
    return {
        **course,
        "quarter": _turn(history, five, least, 3),
        "turn": _turn(history, five, least, 12),
        **_local(recent, five, np.maximum(least, 2e-3 * (top - bottom))),
        **_lines(recent, five, sigma),
    }


def _course(history: Floats, recent: Floats, now: Floats, sigma: Floats) -> dict[str, Floats]:
    """The change since six hours ago, its straightness, and the share of its largest step.

    Straightness 1 means no step back. Steps are of 5 minutes and of one minute.
    """
    hours = np.column_stack([now, history[:, 1:73]])
    steps = np.nan_to_num(hours[:, :-1] - hours[:, 1:])
    way = steps.sum(axis=1)
    largest = (steps * np.sign(way)[:, None]).max(axis=1)
    size = np.maximum(np.abs(way), sigma)
    quick = np.nan_to_num(recent[:, :-1] - recent[:, 1:])
    minutes = quick.sum(axis=1)
    fastest = (quick * np.sign(minutes)[:, None]).max(axis=1)
    return {
        "climb": np.arcsinh(way / sigma),
        "straight": way / np.maximum(np.abs(steps).sum(axis=1), sigma),
        "jump": np.clip(largest / size, 0, 3),
        "recent_jump": np.clip(fastest / np.maximum(np.abs(minutes), sigma), 0, 3),
    }


def _turn(history: Floats, five: Floats, least: Floats, slots: int) -> Floats:
    """The change over `slots`, relative to the role's usual change in that time."""
    if history.shape[1] <= slots + DAY_SLOTS // 8:
        return np.full(len(five), np.nan)
    changes = SortedRows(np.abs(history[:, 1:-slots:_EVERY] - history[:, 1 + slots :: _EVERY]))
    scale = np.maximum.reduce([changes.at(0.5) / 0.6745, changes.at(0.99) / 2.5, least])
    return np.asarray(np.arcsinh((five - history[:, slots]) / scale))


def _local(recent: Floats, five: Floats, least: Floats) -> dict[str, Floats]:
    """Compares the last minutes with the two hours before them, independent of earlier days.

    Returns their distance, the steadiness of the last forty minutes, and the share of one step.
    """
    before = recent[:, 40:]
    usual = known_or(median(before), median(recent))
    noise = 1.4826 * np.nan_to_num(median(np.abs(before - usual[:, None])))
    noise = np.maximum.reduce([noise, 2e-3 * np.abs(usual), least])
    smooth = median(recent[:, : 9 * _SMOOTH].reshape(len(recent), 9, _SMOOTH))
    steps = np.nan_to_num(smooth[:, :-1] - smooth[:, 1:])
    way = steps.sum(axis=1)
    toward = (steps * np.sign(way)[:, None]).max(axis=1)
    return {
        "local": np.arcsinh((five - usual) / noise),
        "steady": way / np.maximum(np.abs(steps).sum(axis=1), noise),
        "abrupt": np.clip(toward / np.maximum(np.abs(way), noise), 0, 3),
    }


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
