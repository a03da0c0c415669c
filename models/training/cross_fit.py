"""Cross-fitting and calibration of the model from labelled rows, seeded and by group.

No threshold or probability comes from a model's own training rows: a row is scored only by models
that were trained without its group.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from models.features.vector import NAMES
from models.inference.drift import edges
from models.inference.parameters import (
    Parameters,
    Thresholds,
    answer,
    calibrate,
    claims,
    nearest_distance,
    standardise,
    unusual,
)
from models.inference.scorers import UNKNOWN, Scorers, Scores, prepare_rows
from models.inference.tree_ensemble import Floats, Forest
from models.inference.verdict import Answer
from models.intervals import wilson
from models.training.boosting import Boosting, fit, fit_kinds
from models.training.dataset import Origin, Rows

_PRECISION = 0.978
_PRECISION_AT_LEAST = 0.96
# Of the injected incidents: up to which share the score, and the signature, of a refuted one goes.
_REFUTED_AT_MOST, _HARMLESS_AT_MOST = 0.04, 0.02
# Of the incidents of all sets, also of those that only people saw: up to which share the score of a
# host goes that is refuted because it is within its own range.
_QUIET_AT_MOST = 0.15
# What sets with injected alerts weigh in the calibration: chosen by its error on held-out machines.
_INJECTED = 0.7
_EXAMPLES = 1500
_USED = 60
_KNOTS = 20
# How much farther than nearly all training examples are from the others an alert may be.
_USUAL_SHARE, _STRANGE = 0.99, 1.3


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers, with an entry for each row; `confidence` is None if not calibrated."""

    answers: list[Answer]
    score: Floats
    confidence: Floats | None


def cross_fit(
    rows: Rows,
    *,
    folds: int,
    boosting: Boosting,
    progress: Callable[[int, int], None],
    without: NDArray[np.bool_] | None = None,
) -> Scores:
    """The scores of each row by models that were trained on the other folds.

    Groups are dealt to the folds in turn, the largest first. Rows `without` are scored, but no
    model is trained on them.
    """
    names, counts = np.unique(rows.group, return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    parts = [np.isin(rows.group, order[fold::folds]) for fold in range(folds)]
    kept = np.ones(len(rows), dtype=np.bool_) if without is None else ~without
    fold_scores = Parallel(n_jobs=-1, return_as="generator")(
        delayed(_score_held)(rows.only(kept & ~held), rows.vectors[held], boosting)
        for held in parts
    )
    columns: dict[str, Floats] = {}
    for fold, (held, scores) in enumerate(zip(parts, fold_scores, strict=True)):
        for scorer, values in vars(scores).items():
            columns.setdefault(scorer, np.full(len(rows), np.nan))[held] = values
        progress(fold + 1, folds)
    return Scores(**columns)


def build_parameters(
    rows: Rows, scorers: Scorers, scores: Scores, boosting: Boosting
) -> Parameters:
    """The calibrated model: thresholds and probabilities from the cross-fitted `scores`."""
    counted, thresholds = rows.counted, _thresholds(rows, scores)
    columns = np.argsort(-_splits(scorers.fault), kind="stable")[:_USED].astype(np.int16)
    centre, spread, examples = _examples(rows, columns, boosting.seed)
    apart = np.array(
        [
            nearest_distance(np.delete(examples, row, axis=0), examples[row])
            for row in range(len(examples))
        ]
    )
    return Parameters(
        scorers=scorers,
        kinds=fit_kinds(rows, boosting),
        curves=_curves(rows.only(counted), scores.only(counted), thresholds),
        thresholds=thresholds,
        centre=centre,
        spread=spread,
        examples=examples,
        strange=_STRANGE * float(np.quantile(apart, _USUAL_SHARE)),
        used=columns,
        feature_edges=edges(rows.vectors[:, columns].astype(np.float64)),
        score_edges=edges(scores.ranked[:, None])[0],
    )


def _splits(forest: Forest) -> NDArray[np.int64]:
    """The number of nodes that split on each feature."""
    inner = forest.left != np.arange(len(forest.left))
    return np.bincount(forest.feature[inner], minlength=len(NAMES))


def _score_held(rows: Rows, vectors: NDArray[np.float32], boosting: Boosting) -> Scores:
    return fit(rows, boosting).score(prepare_rows(vectors.astype(np.float64)))


def answer_rows(rows: Rows, scores: Scores) -> Answers:
    """Each row's answer, by thresholds and a calibration from the other groups."""
    counted = rows.counted
    answers = [Answer.UNDECIDED] * len(rows)
    confidence = np.full(len(rows), np.nan)
    apart = unusual(rows.vectors)
    for group in np.unique(rows.group[counted]):
        own = rows.group == group
        others = ~own
        thresholds = _thresholds(rows.only(others), scores.only(others))
        kept = others & counted
        curves = _curves(rows.only(kept), scores.only(kept), thresholds)
        held = scores.only(own)
        claimed = claims(thresholds, held, rows.vectors[own])
        confidence[own] = calibrate(curves, claimed, held, apart[own])
        for row, claim in zip(np.flatnonzero(own), claimed, strict=True):
            answers[row] = answer(int(claim), confidence[row])
    return Answers(answers=answers, score=scores.ranked, confidence=confidence)


def _examples(
    rows: Rows, columns: NDArray[np.int16], seed: int
) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """Centre, spread and a sample of the rows, which give the distance to training examples."""
    x = prepare_rows(rows.vectors.astype(np.float64))[:, columns].astype(np.float64)
    known = np.where(x <= UNKNOWN, np.nan, x)
    centre = np.nan_to_num(np.nanmedian(known, axis=0))
    spread = np.nan_to_num(np.nanstd(known, axis=0), nan=1.0)
    spread = np.where(spread > 0, spread, 1.0)
    sample = np.random.default_rng(seed).permutation(len(x))[:_EXAMPLES]
    return centre, spread, standardise(x[sample], centre, spread)


def _curves(rows: Rows, scores: Scores, thresholds: Thresholds) -> Floats:
    """The calibration curves of `Parameters`; of a claim that is never made, that of all alerts."""
    weight, claimed = _weights(rows), claims(thresholds, scores, rows.vectors)
    curves = []
    for claim, certainty in enumerate(scores.certainties):
        own = claimed == claim
        kept = own if own.any() else np.ones_like(own)
        curves.append(_curve(certainty[kept], rows.incident[kept], weight[kept]))
    return np.stack(curves)


def _weights(rows: Rows) -> Floats:
    """Sets differ in size, and in how many of their alerts are incidents.

    Sets with injected alerts count for most; among them, as among those without, each as much as
    another.
    """
    injected = np.unique(rows.source[rows.origin == Origin.INJECTED])
    weight = np.zeros(len(rows))
    for with_injections in (True, False):
        names = [name for name in np.unique(rows.source) if (name in injected) is with_injections]
        for name in names:
            own = rows.source == name
            share = _INJECTED if with_injections else 1 - _INJECTED
            weight[own] = share * len(rows) / (len(names) * np.count_nonzero(own))
    return weight


def _curve(certainty: Floats, incident: NDArray[np.bool_], weight: Floats) -> Floats:
    """Knots [2, _KNOTS] of a calibration curve; all are means, so that it extrapolates nothing."""
    iso = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip")
    share = iso.fit(certainty, incident, sample_weight=weight).predict(certainty)
    parts = np.array_split(np.argsort(certainty, kind="stable"), min(_KNOTS, len(certainty)))
    means = [
        (certainty[part].mean(), np.average(share[part], weights=weight[part])) for part in parts
    ]
    return np.array(means + [means[-1]] * (_KNOTS - len(means))).T


def _thresholds(rows: Rows, scores: Scores) -> Thresholds:
    """Confirm from the lowest signature with enough precision; refute where incidents are rare."""
    kept = rows.counted & np.isin(
        rows.source, np.unique(rows.source[rows.origin == Origin.INJECTED])
    )
    fault, incident = scores.fault[kept], rows.incident[kept]
    order = np.argsort(-fault, kind="stable")
    right = np.cumsum(incident[order])
    count = np.arange(1, len(order) + 1)
    lower = np.array([wilson(int(k), int(n))[0] for k, n in zip(right, count, strict=True)])
    holds = (right / count >= _PRECISION) & (lower >= _PRECISION_AT_LEAST)
    confirm = float(fault[order][np.flatnonzero(holds).max()]) if holds.any() else 2.0
    each = np.ones(int(incident.sum()))
    labelled = rows.counted & rows.incident
    _, of_set, sizes = np.unique(rows.source[labelled], return_inverse=True, return_counts=True)
    return Thresholds(
        confirm,
        _up_to(scores.ranked[kept][incident], each, _REFUTED_AT_MOST),
        _up_to(scores.ranked[labelled], 1 / sizes[of_set], _QUIET_AT_MOST),
        _up_to(fault[incident], each, _HARMLESS_AT_MOST),
    )


def _up_to(values: Floats, weight: Floats, share: float) -> float:
    """The largest value up to which there is at most this share of the weight; else -1."""
    up = np.argsort(values, kind="stable")
    low = np.flatnonzero(np.cumsum(weight[up]) <= share * weight.sum())
    return float(values[up][low.max()]) if len(low) else -1.0
