"""How the model is made from labelled rows: seeded, machine-wise cross-fitted, calibrated.

A limit or a probability is never taken from rows that a model was trained on: each comes from
models that had seen nothing of the row's group.
"""

from collections.abc import Callable

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from models.features.vector import NAMES
from models.inference.drift import edges
from models.inference.parameters import Learned, Limits, nearest, placed
from models.inference.scorers import UNKNOWN, Mix, Parts, Readings, prepared
from models.inference.tree_ensemble import Floats
from models.inference.verdict import Answer
from models.training import boosting
from models.training.dataset import Origin, Rows
from models.training.scores import wilson

_PRECISION = 0.975
_PRECISION_AT_LEAST = 0.96
_REFUTED_AT_MOST = 0.04
_EXAMPLES = 1500
_USED = 60
_KNOTS = 60
_USUAL_SHARE = 0.99
_STRANGE = 1.3
# Chosen once across machines: a wider gate orders labelled incidents better, and injected ones
# worse.
MIX = Mix(slope=1.5, offset=2.5, gate=10, gate_offset=2, alike=0.3, doubt=4, everyday=-3)


def cross_fit(
    rows: Rows,
    *,
    folds: int,
    seed: int,
    progress: Callable[[int, int], None],
    without: NDArray[np.bool_] | None = None,
) -> Readings:
    """Groups are dealt to the folds in turn, the largest first.

    Rows `without` are judged, but nothing is trained on them.
    """
    names, counts = np.unique(rows.group, return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    parts = [np.isin(rows.group, order[fold::folds]) for fold in range(folds)]
    kept = np.ones(len(rows), dtype=np.bool_) if without is None else ~without
    readings = Parallel(n_jobs=-1, return_as="generator")(
        delayed(_read_held)(rows.only(kept & ~held), rows.vectors[held], seed) for held in parts
    )
    found: dict[str, Floats] = {}
    for fold, (held, reading) in enumerate(zip(parts, readings, strict=True)):
        for part, values in vars(reading).items():
            found.setdefault(part, np.full(len(rows), np.nan))[held] = values
        progress(fold + 1, folds)
    return Readings(**found)


def finish(rows: Rows, fitted: Parts, crossed: Readings, seed: int) -> Learned:
    """The calibrated model: limits and probabilities from readings across groups."""
    scored = rows.source != "made"
    raw = crossed.combined(MIX)
    splits = fitted.fault.splits(len(NAMES))
    columns = np.argsort(-splits, kind="stable")[:_USED].astype(np.int16)
    centre, spread, examples = _examples(rows, columns, seed)
    apart = np.array(
        [
            nearest(np.delete(examples, line, axis=0), examples[line])
            for line in range(len(examples))
        ]
    )
    return Learned(
        parts=fitted,
        kinds=boosting.kinds(rows, seed),
        mix=MIX,
        curves=_curves(crossed.only(scored), rows.incident[scored]),
        limits=_limits(rows, crossed, raw),
        centre=centre,
        spread=spread,
        examples=examples,
        strange_unit=float(np.quantile(apart, _USUAL_SHARE)),
        used=columns,
        feature_edges=edges(rows.vectors[:, columns].astype(np.float64)),
        score_edges=edges((1 / (1 + np.exp(-raw)))[:, None])[0],
    )


def _read_held(taught: Rows, vectors: NDArray[np.float32], seed: int) -> Readings:
    return boosting.fit(taught, seed).read(prepared(vectors.astype(np.float64)))


def answers(rows: Rows, crossed: Readings) -> tuple[list[Answer], Floats, Floats]:
    """Answer, score and confidence of each row.

    By limits and a calibration that were made of all the other groups.
    """
    raw = crossed.combined(MIX)
    scored = rows.source != "made"
    answered = [Answer.UNDECIDED] * len(rows)
    confidence = np.full(len(rows), np.nan)
    for group in np.unique(rows.group[scored]):
        mine = rows.group == group
        others = ~mine
        known = rows.only(others)
        limits = _limits(known, crossed.only(others), raw[others])
        curves = _curves(crossed.only(others & scored), rows.incident[others & scored])
        confidence[mine] = crossed.only(mine).confidence(raw[mine], curves)
        low = float(np.log(limits.refute / (1 - limits.refute))) if limits.refute else -np.inf
        for line in np.flatnonzero(mine):
            if crossed.fault[line] >= limits.confirm:
                answered[line] = Answer.CONFIRMED
            elif raw[line] <= low:
                answered[line] = Answer.REFUTED
    return answered, 1 / (1 + np.exp(-raw)), confidence


def _examples(
    rows: Rows, columns: NDArray[np.int16], seed: int
) -> tuple[Floats, Floats, NDArray[np.float32]]:
    x = prepared(rows.vectors.astype(np.float64))[:, columns].astype(np.float64)
    known = np.where(x <= UNKNOWN, np.nan, x)
    centre = np.nan_to_num(np.nanmedian(known, axis=0))
    spread = np.nan_to_num(np.nanstd(known, axis=0), nan=1.0)
    spread = np.where(spread > 0, spread, 1.0)
    some = np.random.default_rng(seed).permutation(len(x))[:_EXAMPLES]
    return centre, spread, placed(x[some], centre, spread)


def _curves(crossed: Readings, incident: NDArray[np.bool_]) -> Floats:
    """As `Readings.confidence` takes them."""
    raw = crossed.combined(MIX)
    at = np.unique(np.quantile(raw, np.linspace(0, 1, _KNOTS)))
    near = np.median(np.diff(at)) / 2
    shares = []
    for weight in (crossed.injected, 1 - crossed.injected):
        iso = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip")
        iso.fit(raw, incident, sample_weight=weight)
        smooth = np.mean([iso.predict(at + shift) for shift in np.linspace(-near, near, 9)], axis=0)
        shares.append(np.maximum.accumulate(smooth))
    return np.vstack([at, *shares])


def _limits(rows: Rows, crossed: Readings, raw: Floats) -> Limits:
    """The lowest limit from which precision and its lower bound hold, and where hardly any lies."""
    kept = (rows.source != "made") & np.isin(
        rows.source, np.unique(rows.source[rows.origin == Origin.INJECTED])
    )
    fault, incident = crossed.fault[kept], rows.incident[kept]
    order = np.argsort(-fault, kind="stable")
    right = np.cumsum(incident[order])
    count = np.arange(1, len(order) + 1)
    lower = np.array([wilson(int(k), int(n))[0] for k, n in zip(right, count, strict=True)])
    holds = (right / count >= _PRECISION) & (lower >= _PRECISION_AT_LEAST)
    confirm = float(fault[order][np.flatnonzero(holds).max()]) if holds.any() else 2.0
    up = np.argsort(raw[kept], kind="stable")
    missed = np.cumsum(incident[up]) / max(int(incident.sum()), 1)
    low = np.flatnonzero(missed <= _REFUTED_AT_MOST)
    refute = float(raw[kept][up][low.max()]) if len(low) else -np.inf
    return Limits(confirm=confirm, refute=1 / (1 + float(np.exp(-refute))), strange=_STRANGE)
