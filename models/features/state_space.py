"""Compares the target's state with its past states, and finds what its traffic explains."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features.baselines import HOUR_SLOTS, MOVED, Levels, ages
from models.features.row_stats import kth

Floats = NDArray[np.float64]

NAMES = (
    "residual",
    "residual_size",
    "nearest",
    "nearest_size",
    "alike_days",
    "alike_hour_days",
    "cpu_unexplained",
    "load_unexplained",
    "connections_unexplained",
    "opens_unexplained",
    "restless",
)
_EXPLAINED = ("cpu", "load", "connections", "opens")
_LEAST_ROLES = 3
_ALIKE = 0.35


@dataclass(frozen=True)
class _State:
    """States as points: `past` [roles, slots] and `now` [roles], in asinh of sigmas."""

    past: Floats
    now: Floats


def compare_states(past: Floats, levels: Levels, groups: dict[str, list[int]]) -> tuple[float, ...]:
    """The features `NAMES`; `groups` has the row numbers of each group of roles."""
    # On the asinh scale one extreme role cannot hide all others.
    squashed = np.arcsinh((past - levels.middle[:, None]) / levels.scale[:, None])
    state = _State(np.nan_to_num(squashed), np.nan_to_num(levels.columns["now"]))
    return (
        *_residual(state),
        *_nearest(state),
        *_unexplained(state, groups),
        _restless(state),
    )


def _residual(state: _State) -> tuple[float, float]:
    """The present's distance from the past's main directions: its rank and its size."""
    rows, slots = state.past.shape
    if rows < _LEAST_ROLES:
        return np.nan, np.nan
    centre = state.past.mean(axis=1)
    centred = state.past - centre[:, None]
    values, vectors = np.linalg.eigh(centred @ centred.T / slots)
    shares = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-12)
    kept = min(int(np.searchsorted(shares, 0.9)) + 1, rows - 1)
    rest = vectors[:, : rows - kept].T
    off = ((rest @ centred) ** 2).sum(axis=0)
    own = float(((rest @ (state.now - centre)) ** 2).sum())
    above = (np.count_nonzero(off >= own) + 1) / (slots + 1)
    usual = kth(off, slots // 2)
    return -float(np.log10(above)), float(np.log10((own + 1e-3) / (usual + 1e-3)))


def _nearest(state: _State) -> tuple[float, float, float, float]:
    """The distance to the most similar moments of the past, and on how many days they lie."""
    distance = np.sqrt(((state.past - state.now[:, None]) ** 2).mean(axis=0))
    size = float(np.sqrt((state.now**2).mean()))
    near = kth(distance, 10)
    when = ages(len(distance))
    days = max(int(when.day[-1]), 1)
    alike = (distance <= _ALIKE * max(size, 1.0)) & (when.day > 0)
    at_hour = alike & (when.off <= HOUR_SLOTS)
    return (
        near / max(size, 0.3),
        float(np.log10(near + 1e-2)),
        np.count_nonzero(np.bincount(when.day[alike])) / days,
        np.count_nonzero(np.bincount(when.day[at_hour])) / days,
    )


def _unexplained(state: _State, groups: dict[str, list[int]]) -> list[float]:
    """Each group's level without the part that the target's own traffic explains."""
    traffic = [*groups.get("net_in", ()), *groups.get("net_out", ())]
    unexplained = dict.fromkeys(_EXPLAINED, np.nan)
    wanted = {
        name: max(groups[name], key=lambda row: abs(state.now[row]))
        for name in _EXPLAINED
        if groups.get(name)
    }
    if not traffic or not wanted:
        return list(unexplained.values())
    slots = state.past.shape[1]
    regressors = np.vstack([state.past[traffic], np.ones(slots)])
    rows = list(wanted.values())
    weights = regressors @ regressors.T + np.eye(len(regressors)) * (0.01 * slots)
    lines = np.linalg.solve(weights, regressors @ state.past[rows].T).T
    spread = (state.past[rows] - lines @ regressors).std(axis=1)
    off = state.now[rows] - lines @ np.append(state.now[traffic], 1.0)
    unexplained |= zip(wanted, np.arcsinh(off / np.maximum(spread, 0.3)).tolist(), strict=True)
    return list(unexplained.values())


def _restless(state: _State) -> float:
    """Log10 of the share of moments at which any role of the target was far out."""
    return float(np.log10((np.abs(state.past).max(axis=0) >= MOVED).mean() + 1e-3))
