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
    calibrate,
    decide,
    is_usual,
    nearest_distance,
    recurs,
    standardise,
    unusual,
)
from models.inference.scorers import UNKNOWN, Scorers, Scores, prepare_rows
from models.inference.tree_ensemble import Floats
from models.inference.verdict import Answer
from models.intervals import wilson
from models.training.boosting import Boosting, fit, fit_kinds
from models.training.dataset import MADE, Origin, Rows

_PRECISION = 0.975
_PRECISION_AT_LEAST = 0.96
_REFUTED_AT_MOST = 0.04
_EXAMPLES = 1500
_USED = 60
_KNOTS = 60
_USUAL_SHARE = 0.99
_STRANGE = 1.3


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
    counted = rows.source != MADE
    combined = scores.combined
    splits = scorers.fault.splits(len(NAMES))
    columns = np.argsort(-splits, kind="stable")[:_USED].astype(np.int16)
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
        curve=_curve(rows.only(counted), scores.certainty[counted]),
        thresholds=_thresholds(rows, scores, combined),
        centre=centre,
        spread=spread,
        examples=examples,
        strange_unit=float(np.quantile(apart, _USUAL_SHARE)),
        used=columns,
        feature_edges=edges(rows.vectors[:, columns].astype(np.float64)),
        score_edges=edges((1 / (1 + np.exp(-combined)))[:, None])[0],
    )


def _score_held(rows: Rows, vectors: NDArray[np.float32], boosting: Boosting) -> Scores:
    return fit(rows, boosting).score(prepare_rows(vectors.astype(np.float64)))


def answer_rows(rows: Rows, scores: Scores) -> Answers:
    """Each row's answer, by thresholds and a calibration from the other groups."""
    combined, certainty = scores.combined, scores.certainty
    counted = rows.source != MADE
    answers = [Answer.UNDECIDED] * len(rows)
    confidence = np.full(len(rows), np.nan)
    score, apart = 1 / (1 + np.exp(-combined)), unusual(rows.vectors)
    usual = is_usual(rows.vectors, scores.alike)
    refutable = np.where(recurs(rows.vectors), 0.0, score)
    for group in np.unique(rows.group[counted]):
        own = rows.group == group
        others = ~own
        thresholds = _thresholds(rows.only(others), scores.only(others), combined[others])
        kept = others & counted
        curve = _curve(rows.only(kept), certainty[kept])
        confidence[own] = calibrate(curve, certainty[own], apart[own])
        for row in np.flatnonzero(own):
            answers[row] = decide(
                thresholds,
                fault=scores.fault[row],
                confidence=confidence[row],
                score=refutable[row],
                usual=bool(usual[row]),
            )
    return Answers(answers=answers, score=score, confidence=confidence)


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


def _curve(rows: Rows, certainty: Floats) -> Floats:
    """The calibration curve of `Parameters`.

    Sets with injected alerts count for half, as do those without; each set as much as another. They
    differ in size, and in how many of their alerts are incidents.
    """
    injected = np.unique(rows.source[rows.origin == Origin.INJECTED])
    weight = np.zeros(len(rows))
    for with_injections in (True, False):
        names = [name for name in np.unique(rows.source) if (name in injected) is with_injections]
        for name in names:
            own = rows.source == name
            weight[own] = len(rows) / (2 * len(names) * np.count_nonzero(own))
    at = np.unique(np.quantile(certainty, np.linspace(0, 1, _KNOTS)))
    near = np.median(np.diff(at)) / 2
    iso = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip")
    iso.fit(certainty, rows.incident, sample_weight=weight)
    smooth = np.mean([iso.predict(at + shift) for shift in np.linspace(-near, near, 9)], axis=0)
    return np.vstack([at, np.maximum.accumulate(smooth)])


def _thresholds(rows: Rows, scores: Scores, combined: Floats) -> Thresholds:
    """Confirm from the lowest score that has enough precision; refute where incidents are rare."""
    kept = (rows.source != MADE) & np.isin(
        rows.source, np.unique(rows.source[rows.origin == Origin.INJECTED])
    )
    fault, incident = scores.fault[kept], rows.incident[kept]
    order = np.argsort(-fault, kind="stable")
    right = np.cumsum(incident[order])
    count = np.arange(1, len(order) + 1)
    lower = np.array([wilson(int(k), int(n))[0] for k, n in zip(right, count, strict=True)])
    holds = (right / count >= _PRECISION) & (lower >= _PRECISION_AT_LEAST)
    confirm = float(fault[order][np.flatnonzero(holds).max()]) if holds.any() else 2.0
    up = np.argsort(combined[kept], kind="stable")
    missed = np.cumsum(incident[up]) / max(int(incident.sum()), 1)
    low = np.flatnonzero(missed <= _REFUTED_AT_MOST)
    refute = float(combined[kept][up][low.max()]) if len(low) else -np.inf
    return Thresholds(confirm=confirm, refute=1 / (1 + float(np.exp(-refute))), strange=_STRANGE)
