"""Figures of a model's answers: precision, calibration, suppression."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_BINS = 10
_SURE = 0.95
_ROUNDS, _SEED = 200, 1


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Alerts of similar confidence: its mean, and the share of incidents among them."""

    alerts: int
    confidence: float
    incidents: float


def average_precision(incident: Flags, score: Floats) -> float | None:
    """The area under the precision-recall curve, in steps; None without incidents."""
    if not incident.any():
        return None
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(incident[order])
    # Equal scores are one step, because their order is arbitrary.
    last = np.append(np.diff(score[order]) != 0, True)
    right, count = right[last], (np.flatnonzero(last) + 1)
    return float((np.diff(right, prepend=0) * right / count).sum() / incident.sum())


def suppressed(incident: Flags, score: Floats) -> float | None:
    """The share of benign alerts below the score that finds 95 % of the incidents."""
    if not incident.any() or incident.all():
        return None
    ordered = np.sort(score[incident])
    limit = ordered[int(np.floor(0.05 * len(ordered)))]
    return float((score[~incident] < limit).mean())


def recall_at(incident: Flags, score: Floats, precision: float) -> float | None:
    """The largest recall of incidents at a precision."""
    if not incident.any():
        return None
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(incident[order])
    holds = right / np.arange(1, len(order) + 1) >= precision
    return float(right[holds].max() / incident.sum()) if holds.any() else 0.0


def reliability(incident: Flags, confidence: Floats) -> tuple[Bin, ...]:
    """Ten bins of equal width, without empty ones and without unknown confidence."""
    known = np.isfinite(confidence)
    incident, confidence = incident[known], confidence[known]
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    return tuple(
        Bin(
            alerts=int((bins == number).sum()),
            confidence=float(confidence[bins == number].mean()),
            incidents=float(incident[bins == number].mean()),
        )
        for number in np.unique(bins)
    )


def told_surely(incident: Flags, confidence: Floats) -> Bin | None:
    """The alerts told at a confidence of 0.95 or more; None if there are none."""
    sure = confidence >= _SURE
    if not sure.any():
        return None
    return Bin(
        alerts=int(sure.sum()),
        confidence=float(confidence[sure].mean()),
        incidents=float(incident[sure].mean()),
    )


def calibration_error(bins: tuple[Bin, ...]) -> float | None:
    """The expected calibration error; None without bins."""
    alerts = sum(part.alerts for part in bins)
    if not alerts:
        return None
    return sum(part.alerts * abs(part.incidents - part.confidence) for part in bins) / alerts


def interval_over_groups(
    figure: Callable[[NDArray[np.intp]], float | None], groups: NDArray[np.str_]
) -> tuple[float, float] | None:
    """The 95 % interval of a figure where whole groups are drawn again, with replacement.

    Alerts of one machine are alike, so machines are the independent samples (Davison and Hinkley,
    "Bootstrap Methods and their Application", 1997, section 3.8). `figure` takes the numbers of the
    alerts drawn. None with fewer than two groups.
    """
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    if len(members) < 2:  # noqa: PLR2004 one group has no spread
        return None
    rng = np.random.default_rng(_SEED)
    drawn = [
        figure(
            np.concatenate([members[one] for one in rng.integers(len(members), size=len(members))])
        )
        for _ in range(_ROUNDS)
    ]
    known = [value for value in drawn if value is not None]
    if not known:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
