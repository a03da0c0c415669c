"""How the model is made from labelled rows: seeded, machine-wise cross-fitted, calibrated.

A limit or a probability is never taken from rows that a model was trained on: each comes from
models that had seen nothing of the row's group.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression

from models.drift import edges
from models.features import NAMES
from models.figures import wilson
from models.forest import Floats, Forest, from_boosting, never
from models.learned import (
    UNKNOWN,
    Kind,
    Learned,
    Limits,
    combined,
    nearest,
    placed,
    prepared,
    probability,
)
from models.rows import Origin, Rows
from models.verdict import Answer

MADE_WEIGHT = 0.6
_PRECISION = 0.975
_PRECISION_AT_LEAST = 0.96
_REFUTED_AT_MOST = 0.04
_EXAMPLES = 1500
_USED = 60
_KNOTS = 60
_LEAST_NATURAL = 30
_MODELS = 3
# Few labels: any one model of them is a matter of chance.
_NATURAL_MODELS = 5
_USUAL_SHARE = 0.99
_STRANGE = 1.3
# Slopes in log-odds, chosen once across machines: less of the second orders injected faults
# better, more of it labelled ones.
MIX = np.array([1.5, 1.2, 1.8, 1.0])
# Labels of real machines rank by how far a machine is from its own past; more is never less.
RISING = (
    "far_share",
    "further_share",
    "beyond_mean",
    "size",
    "size_ratio",
    "size_rank",
    "apart",
    "apart_ratio",
    "apart_rank",
    "near5",
    "near30",
    "near30_flat",
    "near30_steep",
    "load_now",
    "load_hour",
    "load_five",
)
FREE = ("past_size", "past_size_high")
KIND_OF: dict[str, Kind] = {
    **dict.fromkeys(("cpu_runaway", "runaway", "fork_storm", "starved_cpu"), Kind.RUNAWAY_PROCESS),
    **dict.fromkeys(("mem_leak", "leak", "thrashing", "spinning_leak"), Kind.MEMORY_LEAK),
    **dict.fromkeys(
        ("disk_stall", "slow_disk", "runaway_writes", "full_disk", "bad_neighbour"), Kind.DISK
    ),
    **dict.fromkeys(("net_degrade", "loss", "partition", "flood", "port_scan"), Kind.NETWORK),
    **dict.fromkeys(
        ("hang", "hung", "crash_loop", "slow_dependency", "connection_leak"), Kind.HANG
    ),
    **dict.fromkeys(("overload", "overloaded", "saturated"), Kind.OVERLOAD),
}


@dataclass(frozen=True)
class Fitted:
    """The parts of one model, before anything is calibrated."""

    signatures: tuple[Forest, ...]
    natural: Forest
    injected: Forest

    def read(self, vectors: Floats) -> "Readings":
        rows = prepared(vectors)
        return Readings(
            fault=np.mean([probability(one(rows)) for one in self.signatures], axis=0),
            natural=probability(self.natural(rows)),
            injected=probability(self.injected(rows)),
        )


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Three probabilities a row, as `models.learned` combines them."""

    fault: Floats
    natural: Floats
    injected: Floats

    @property
    def raw(self) -> Floats:
        return combined(self.fault, self.natural, self.injected, MIX)

    def only(self, kept: NDArray[np.bool_]) -> "Readings":
        return Readings(
            fault=self.fault[kept], natural=self.natural[kept], injected=self.injected[kept]
        )


def fit(rows: Rows, seed: int) -> Fitted:
    x = prepared(rows.vectors.astype(np.float64))
    weight = np.where(rows.source == "made", MADE_WEIGHT, 1.0)
    natural = rows.origin == Origin.NATURAL
    # Labels of published sets are no signatures of faults; what this fleet's people said is.
    taught = ~(natural & rows.incident) | (rows.kind == "judged")
    labels = rows.incident[taught]
    boosted = [_boosting(seed + n).fit(x[taught], labels, weight[taught]) for n in range(_MODELS)]
    return Fitted(
        signatures=tuple(from_boosting(one) for one in boosted),
        natural=_natural(x, rows, seed),
        injected=_injected(x, rows, seed),
    )


def _boosting(seed: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=250,
        learning_rate=0.06,
        max_leaf_nodes=15,
        l2_regularization=3,
        max_features=0.2,
        random_state=seed,
    )


def _injected(x: NDArray[np.float32], rows: Rows, seed: int) -> Forest:
    """Of the sets' own alerts: what was made here would drown them."""
    kept = rows.source != "made"
    natural = rows.origin[kept] == Origin.NATURAL
    if natural.all() or not natural.any():
        return never()
    model = HistGradientBoostingClassifier(
        max_iter=120,
        learning_rate=0.08,
        max_leaf_nodes=15,
        l2_regularization=3,
        max_features=0.15,
        random_state=seed,
    )
    return from_boosting(model.fit(x[kept], ~natural))


def _natural(x: NDArray[np.float32], rows: Rows, seed: int) -> Forest:
    """Of labelled alerts as they happened only; without enough of them it always says no."""
    kept = rows.labelled_as_it_happened
    if rows.incident[kept].sum() < _LEAST_NATURAL:
        return never()
    columns = np.array([NAMES.index(name) for name in (*RISING, *FREE)])
    models = [
        HistGradientBoostingClassifier(
            max_iter=150,
            learning_rate=0.05,
            max_leaf_nodes=8,
            min_samples_leaf=30,
            l2_regularization=5,
            max_features=0.3,
            random_state=seed + number,
            monotonic_cst=[1] * len(RISING) + [0] * len(FREE),
        ).fit(x[kept][:, columns], rows.incident[kept])
        for number in range(_NATURAL_MODELS)
    ]
    return from_boosting(*models, columns=columns)


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
    fault, natural, injected = (np.full(len(rows), np.nan) for _ in range(3))
    names, counts = np.unique(rows.group, return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    parts = [np.isin(rows.group, order[fold::folds]) for fold in range(folds)]
    kept = np.ones(len(rows), dtype=np.bool_) if without is None else ~without
    readings = Parallel(n_jobs=-1, return_as="generator")(
        delayed(_read_held)(rows.only(kept & ~held), rows.vectors[held], seed) for held in parts
    )
    for fold, (held, reading) in enumerate(zip(parts, readings, strict=True)):
        fault[held], natural[held] = reading.fault, reading.natural
        injected[held] = reading.injected
        progress(fold + 1, folds)
    return Readings(fault=fault, natural=natural, injected=injected)


def finish(rows: Rows, fitted: Fitted, crossed: Readings, seed: int) -> Learned:
    """The calibrated model: limits and probabilities from readings across groups."""
    scored = rows.source != "made"
    raw = crossed.raw
    splits = np.sum([one.splits(len(NAMES)) for one in fitted.signatures], axis=0)
    columns = np.argsort(-splits, kind="stable")[:_USED].astype(np.int16)
    centre, spread, examples = _examples(rows, columns, seed)
    apart = np.array(
        [
            nearest(np.delete(examples, line, axis=0), examples[line])
            for line in range(len(examples))
        ]
    )
    return Learned(
        signatures=fitted.signatures,
        natural=fitted.natural,
        injected=fitted.injected,
        kinds=_kinds(rows, seed),
        mix=MIX,
        curve=_curve(raw[scored], rows.incident[scored]),
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
    return fit(taught, seed).read(vectors.astype(np.float64))


def answers(rows: Rows, crossed: Readings) -> tuple[list[Answer], Floats, Floats]:
    """Answer, score and confidence of each row.

    By limits and a calibration that were made of all the other groups.
    """
    raw = crossed.raw
    scored = rows.source != "made"
    answered = [Answer.UNDECIDED] * len(rows)
    confidence = np.full(len(rows), np.nan)
    for group in np.unique(rows.group[scored]):
        mine = rows.group == group
        others = ~mine
        known = rows.only(others)
        limits = _limits(known, crossed.only(others), raw[others])
        curve = _curve(raw[others & scored], rows.incident[others & scored])
        confidence[mine] = np.interp(raw[mine], *curve)
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


def _kinds(rows: Rows, seed: int) -> Forest:
    kinds = list(Kind)
    kept = rows.incident & np.isin(rows.kind, list(KIND_OF))
    labels = np.array([kinds.index(KIND_OF[str(one)]) for one in rows.kind[kept]])
    model = HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.1, max_leaf_nodes=12, max_features=0.3, random_state=seed
    )
    return from_boosting(model.fit(prepared(rows.vectors[kept].astype(np.float64)), labels))


def _curve(raw: Floats, incident: NDArray[np.bool_]) -> Floats:
    """[2, knots]: log-odds and the share of incidents seen there."""
    iso = IsotonicRegression(y_min=0.001, y_max=0.999, out_of_bounds="clip").fit(raw, incident)
    at = np.unique(np.quantile(raw, np.linspace(0, 1, _KNOTS)))
    near = np.median(np.diff(at)) / 2
    smooth = np.mean([iso.predict(at + shift) for shift in np.linspace(-near, near, 9)], axis=0)
    return np.vstack([at, np.maximum.accumulate(smooth)])


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
