"""Compares each role with the target's own past: its level, how unusual it is, its course."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.features import trend
from models.features.row_stats import SortedRows, known_or, median, share
from models.features.window import DAY_SLOTS, Window

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# The newest half hour belongs to the present, not to the past.
NEWEST_LEFT_OUT = 6
HOUR_SLOTS = 4
MOVED = float(np.arcsinh(4.0))
_LEAST_DAYS_SLOTS = 12
NAMES = ("now", "hour", "change", "tail", "again", "lasts", "ramp", "beyond_max", *trend.NAMES)


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Roles with a past and a present.

    `usual` and `sigma` describe this hour on earlier days, `middle` and `scale` the whole past.
    `beyond` [roles, past slots] marks slots as far out as the present, `known` marks slots with a
    value. `columns` has an array over roles for each of `NAMES`; distances are in signed asinh of
    sigmas. `ordered` is the past, sorted for each role.
    """

    roles: tuple[str, ...]
    now: Floats
    usual: Floats
    sigma: Floats
    middle: Floats
    scale: Floats
    beyond: Flags
    known: Flags
    ordered: SortedRows
    columns: Mapping[str, Floats]


@lru_cache(maxsize=128)
def same_hour(slots: int, around: int) -> NDArray[np.intp]:
    """Of `slots` of the past, without the newest half hour, those at this hour.

    [earlier days, slots up to `around` away].
    """
    days = np.arange(1, (slots - 1 + NEWEST_LEFT_OUT + around) // DAY_SLOTS + 1)
    at = days[:, None] * DAY_SLOTS - NEWEST_LEFT_OUT + np.arange(-around, around + 1)
    return np.asarray(np.minimum(at, slots - 1))


def levels(window: Window) -> Levels:
    """The levels of a window in which each role has a past and a present."""
    history, recent, now = window.history, window.recent, window.now
    past = history[:, NEWEST_LEFT_OUT:]
    ordered, known = SortedRows(past), ~np.isnan(past)
    usual, top, bottom = ordered.at(0.5), ordered.at(0.999), ordered.at(0.001)
    jitter = np.nan_to_num(median(np.abs(recent[:, :60] - recent[:, 1:61])))
    sigma = _sigma(ordered, usual, jitter, window.floors)
    far = now - usual
    sign = np.where(far >= 0, 1.0, -1.0)
    hour_usual, hour_sigma = _hour(past, usual, sigma)
    day_usual = known_or(median(history[:, 12 : 12 + DAY_SLOTS]), usual)
    before = known_or(median(recent[:, 45:105]), day_usual)
    quarter = known_or(median(recent[:, 12:20]), before)
    move = now - before
    signed = past * sign[:, None]
    with np.errstate(invalid="ignore"):
        beyond = signed >= ((usual + 0.6 * far) * sign)[:, None]
        outside = (signed >= (now * sign)[:, None]).sum(axis=1)
    edge = np.where(sign > 0, top, bottom)
    return Levels(
        roles=window.roles,
        now=now,
        usual=hour_usual,
        sigma=hour_sigma,
        middle=usual,
        scale=sigma,
        beyond=beyond,
        known=known,
        ordered=ordered,
        columns={
            "now": np.arcsinh(far / sigma),
            "hour": np.arcsinh((now - hour_usual) / hour_sigma),
            "change": np.arcsinh(move / sigma),
            "tail": -sign * np.log10((outside + 1) / (ordered.count + 1)),
            "lasts": _lasts(recent, before + 0.5 * move, sign),
            "ramp": np.clip((now - quarter) / np.where(np.abs(move) > sigma, move, np.nan), -2, 2),
            "beyond_max": np.arcsinh(sign * (now - edge) / sigma),
            "again": _again(known, beyond),
            **trend.trends(window, sigma, ordered),
        },
    )


def _sigma(ordered: SortedRows, usual: Floats, jitter: Floats, floors: Floats) -> Floats:
    """A robust deviation: neither a calm week nor an outlier distorts it."""
    sigma: Floats = np.maximum.reduce(
        [
            (ordered.at(0.75) - ordered.at(0.25)) / 1.349,
            (ordered.at(0.98) - ordered.at(0.02)) / 8,
            (ordered.at(0.999) - ordered.at(0.001)) / 20,
            0.02 * np.abs(usual),
            jitter / 2,
            floors,
            np.full(len(usual), 1e-12),
        ]
    )
    return sigma


def _lasts(recent: Floats, half: Floats, sign: Floats) -> Floats:
    """Log10 of the share of the last two hours with more than half of the role's change."""
    with np.errstate(invalid="ignore"):
        there = recent * sign[:, None] >= (half * sign)[:, None]
    known = recent.shape[1] - np.isnan(recent).sum(axis=1)
    return np.asarray(np.log10(there.sum(axis=1) / np.maximum(known, 1) + 0.005))


def _hour(past: Floats, usual: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Median and deviation at this hour on earlier days; of the whole past if those are few."""
    values = past[:, same_hour(past.shape[1], HOUR_SLOTS).ravel()]
    enough = (~np.isnan(values)).sum(axis=1) >= _LEAST_DAYS_SLOTS
    if not enough.any():
        return usual, sigma
    middle = known_or(median(values), usual)
    spread = 1.4826 * median(np.abs(values - middle[:, None]))
    spread = np.maximum(np.nan_to_num(spread), sigma / 2)
    return np.where(enough, middle, usual), np.where(enough, spread, sigma)


def _again(known: Flags, beyond: Flags) -> Floats:
    """The share of earlier days with a value as far out at this hour; NaN if none is known."""
    near = same_hour(known.shape[1], HOUR_SLOTS)
    hits, of = (flags[:, near].any(axis=2).sum(axis=1).astype(float) for flags in (beyond, known))
    return share(hits, of)
