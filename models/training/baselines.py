"""What a model must be better than: rankings of labelled alerts by means that learn no labels.

Each uses only what was known at the alert. `accept all` confirms every alert.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from models.features.window import DAY_SLOTS, Window, window
from models.training.labelled_sets import LabelledAlert, LabelledSet
from models.training.scores import average_precision, recall_at, suppressed

_SLOTS = 14 * DAY_SLOTS
_VARIANCE = 0.9
_UNIT = 0.99
# 1.4826 times the median absolute deviation is the standard deviation of a normal distribution.
_MAD = 1.4826
_LEAST = 1e-9
# The present is the mean of the last minutes: one sample may be an outlier.
_NOW_SLOTS = 3
_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The figures of a ranking, as those of a `Summary`; None if undefined."""

    name: str
    average_precision: float | None
    suppressed_at_95_recall: float | None
    recall_at_95_precision: float | None


def rank(labelled: LabelledSet, progress: Callable[[int, int], None]) -> Sequence[Baseline]:
    """Each baseline on the set."""
    incident = np.array([alert.incident for alert in labelled.alerts], dtype=np.bool_)
    values: dict[str, list[float]] = {name: [] for name in _SCORES}
    forests = _Forests()
    for number, (alert, evidence) in enumerate(labelled):
        past = _Past.of(window(evidence))
        for name, score in _SCORES.items():
            values[name].append(score(past, alert, forests) if past.usable else 0.0)
        progress(number + 1, len(labelled.alerts))
    return [_figures(name, incident, np.array(scores)) for name, scores in values.items()]


def format_table(ranked: Sequence[Baseline]) -> str:
    """The baselines, a line each."""
    lines = [f"{'baseline':18}{'AP':>8}{'suppressed':>12}{'recall at 95 %':>16}"]
    for one in ranked:
        figures = (
            one.average_precision,
            one.suppressed_at_95_recall,
            one.recall_at_95_precision,
        )
        shown = ["-" if figure is None else f"{figure:.3f}" for figure in figures]
        lines.append(f"{one.name:18}{shown[0]:>8}{shown[1]:>12}{shown[2]:>16}")
    return "\n".join(lines)


def _figures(name: str, incident: NDArray[np.bool_], value: NDArray[np.float64]) -> Baseline:
    return Baseline(
        name=name,
        average_precision=average_precision(incident, value),
        suppressed_at_95_recall=suppressed(incident, value),
        recall_at_95_precision=recall_at(incident, value, 0.95),
    )


@dataclass(frozen=True, kw_only=True)
class _Past:
    """Two weeks of 5-minute means [slots, roles] without gaps, and the present [roles]."""

    roles: tuple[str, ...]
    rows: NDArray[np.float64]
    now: NDArray[np.float64]

    @property
    def usable(self) -> bool:
        return len(self.rows) >= DAY_SLOTS and bool(self.roles)

    @classmethod
    def of(cls, grids: Window) -> "_Past":
        present = grids.recent[:, :_NOW_SLOTS]
        known = np.isfinite(present).any(axis=1) & np.isfinite(grids.history).any(axis=1)
        roles = tuple(grids.roles[row] for row in np.flatnonzero(known))
        # The newest slot is the present's.
        rows = grids.history[known, 1:_SLOTS].T
        rows = rows[np.isfinite(rows).all(axis=1)]
        return cls(roles=roles, rows=rows, now=np.nanmean(present[known], axis=1))


class _Forests:
    """The isolation forest of each target and day, fitted to the past of its first alert."""

    def __init__(self) -> None:
        self._fitted: dict[tuple[str, int], IsolationForest] = {}

    def of(self, alert: LabelledAlert, past: _Past) -> IsolationForest:
        key = alert.target, alert.time // 86_400
        if key not in self._fitted:
            self._fitted[key] = IsolationForest(random_state=_SEED).fit(past.rows)
        return self._fitted[key]


def pca_distance(rows: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """The distance of `now` from `rows`, 1 at the 99th percentile of the rows' own.

    Mahalanobis' distance in the principal axes that hold 90 % of the variance: De Maesschalck et
    al., Chemometrics 50 (2000), 1-18. Both are in units of each column's standard deviation.
    """
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    moves = spread > _LEAST
    if not moves.any():
        return 0.0
    past = (rows[:, moves] - centre[moves]) / spread[moves]
    variances, axes = np.linalg.eigh(np.cov(past, rowvar=False).reshape(moves.sum(), -1))
    variances, axes = variances[::-1], axes[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(variances) / variances.sum(), _VARIANCE)) + 1
    scale = axes[:, :kept] / np.sqrt(np.maximum(variances[:kept], _LEAST))
    usual = np.quantile(np.linalg.norm(past @ scale, axis=1), _UNIT)
    own = np.linalg.norm((now[moves] - centre[moves]) / spread[moves] @ scale)
    return float(own / max(usual, _LEAST))


def _by_pca(past: _Past, _: LabelledAlert, __: _Forests) -> float:
    return pca_distance(past.rows, past.now)


def _by_robust_z(past: _Past, alert: LabelledAlert, _: _Forests) -> float:
    """The largest deviation from the median among the alert's roles, or all."""
    median = np.median(past.rows, axis=0)
    deviation = _MAD * np.median(np.abs(past.rows - median), axis=0)
    z = np.abs(past.now - median) / np.maximum(deviation, _LEAST)
    own = [role in alert.roles for role in past.roles]
    return float(z[own].max() if any(own) else z.max())


def _by_forest(past: _Past, alert: LabelledAlert, forests: _Forests) -> float:
    forest = forests.of(alert, past)
    if forest.n_features_in_ != len(past.now):
        return 0.0
    return -float(forest.score_samples(past.now[None])[0])


_SCORES: Mapping[str, Callable[[_Past, LabelledAlert, _Forests], float]] = {
    "accept all": lambda _, __, ___: 1.0,
    "PCA distance": _by_pca,
    "robust z": _by_robust_z,
    "IsolationForest": _by_forest,
}
