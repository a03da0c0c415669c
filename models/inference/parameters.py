"""The learned parameters, which turn a vector into the probability and kind of an incident."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.features.baselines import MOVED
from models.features.vector import NAMES
from models.inference.scorers import UNKNOWN, Scorers, Scores, prepare_rows
from models.inference.tree_ensemble import Floats, Forest
from models.inference.verdict import Answer

Vectors = NDArray[np.floating[Any]]

FORMAT = 6
CLAIMS = (Answer.UNDECIDED, Answer.CONFIRMED, Answer.REFUTED)
_EVEN = 0.5
# The most that is told of a host within its own range: there a signature is all that speaks, and
# on labels of real machines it was wrong more often than right where it was surest.
_MOST_WHILE_USUAL = 0.94
_APART = NAMES.index("apart_ratio")
_OF_DAYS, _ON_DAYS = NAMES.index("all_of_days"), NAMES.index("all_count")
_MOVED = [NAMES.index(name) for name in ("risen", "fallen")]
_TURNS = [NAMES.index(name) for name in ("lead_turn", "lead_quarter")]
_LEADING = [NAMES.index(name) for name in ("lead_now", "lead_hour", "lead_again", "days")]
_DAYS_AT_LEAST, _ON_MOST_DAYS = 3, 0.8
_AS_AT_THIS_HOUR = float(np.arcsinh(3.0))
# The least probability of a known harmless event that refutes; of lower ones, real incidents of
# application servers had many.
_SURELY_ALIKE = 0.95


class FaultKind(StrEnum):
    """The kind of fault that an alert looks like."""

    RUNAWAY_PROCESS = "runaway_process"
    MEMORY_LEAK = "memory_leak"
    DISK = "disk"
    NETWORK = "network"
    HANG = "hang"
    OVERLOAD = "overload"
    GROUP_LOAD = "group_load"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The model's output for one alert, by the target's own metrics and how siblings compare.

    `score` in [0, 1] orders alerts, `confidence` is the calibrated probability of an incident, None
    for an alert that is far from all training examples. `recurring` says what `recurs` does.
    `unusual` is the distance from the target's own past, of which 99 % is within 1.
    """

    answer: Answer
    score: float
    confidence: float | None
    recurring: bool
    unusual: float
    kind: FaultKind


@dataclass(frozen=True)
class Thresholds:
    """The bounds of `claims`.

    Confirmed is a signature from `confirm` on. Refuted is a signature up to `harmless`, with a
    score up to `refute` for what is alike a harmless event, and up to `quiet` for a host within its
    own range.
    """

    confirm: float
    refute: float
    quiet: float
    harmless: float


def answer(claim: int, confidence: float) -> Answer:
    """Confirmed never below an even chance."""
    told = CLAIMS[claim]
    return Answer.UNDECIDED if told is Answer.CONFIRMED and confidence < _EVEN else told


def claims(thresholds: Thresholds, scores: Scores, vectors: Vectors) -> NDArray[np.intp]:
    """What each host alone is taken for, as an index of `CLAIMS`."""
    refuted = np.where(is_harmless(thresholds, scores, vectors), 2, 0)
    return np.where(scores.fault >= thresholds.confirm, 1, refuted)


def is_harmless(thresholds: Thresholds, scores: Scores, vectors: Vectors) -> NDArray[np.bool_]:
    """Of each vector, whether it recurs, or shows nothing of a fault and is as usual.

    As usual is a target alike a harmless event, or within its own range and there without a jump.
    What is `habitual` need only be likelier alike than not.
    """
    habit = habitual(vectors) & (scores.alike >= _EVEN)
    alike = (scores.alike >= _SURELY_ALIKE) & (scores.ranked <= thresholds.refute)
    usual = (unusual(vectors) <= 1) & (scores.ranked <= thresholds.quiet) & ~jumps(vectors)
    quiet = (scores.fault <= thresholds.harmless) & (alike | usual)
    return np.asarray(recurs(vectors) | habit | quiet)


def recurs(vectors: Vectors) -> NDArray[np.bool_]:
    """Of each vector, whether a role moved, and did so at this hour on most other days."""
    share, days = vectors[:, _OF_DAYS], vectors[:, _ON_DAYS]
    moved = vectors[:, _MOVED].sum(axis=1) > 0
    return np.asarray(moved & (share >= _EVEN) & (days >= _DAYS_AT_LEAST))


def habitual(vectors: Vectors) -> NDArray[np.bool_]:
    """Of each vector, whether its leading role moved to where it is on most days at this hour."""
    now, hour, again, days = vectors[:, _LEADING].T
    moved = (np.abs(now) >= MOVED) & (np.abs(hour) < _AS_AT_THIS_HOUR)
    return np.asarray(moved & (again >= _ON_MOST_DAYS) & (days >= _DAYS_AT_LEAST))


def days_alike(vector: Vectors) -> tuple[int, int]:
    """On how many earlier days it was so at this hour, and of how many; none if it never was."""
    share, days = vector[_OF_DAYS], vector[_ON_DAYS]
    return (round(float(days)), round(float(days / share))) if share > 0 else (0, 0)


def jumps(vectors: Vectors) -> NDArray[np.bool_]:
    """Of each vector, whether its leading role changes faster than it nearly ever did.

    So it does where nothing is known of its changes.
    """
    turns = np.abs(vectors[:, _TURNS])
    unknown = np.isnan(turns).all(axis=1)
    return np.asarray(unknown | (np.nanmax(turns, axis=1, initial=0.0) >= MOVED))


def calibrate(curves: Floats, claimed: NDArray[np.intp], scores: Scores, unusual: Floats) -> Floats:
    """The probability of an incident, by the curve of what each host is taken for.

    A host within its own range (`unusual` up to 1) is never told to be ill at 0.95 or more.
    """
    each = zip(scores.certainties, curves, strict=True)
    told = np.stack([np.interp(certainty, *curve) for certainty, curve in each])
    most = np.where(unusual <= 1, _MOST_WHILE_USUAL, 1.0)
    return np.asarray(np.minimum(told[claimed, np.arange(len(claimed))], most))


def unusual(vectors: Vectors) -> Floats:
    """Mahalanobis' distance from the own past, in units of its 99th percentile, of each vector.

    Infinite where it is unknown.
    """
    # The feature is the decadic logarithm of its square.
    distance = 10 ** (vectors[:, _APART].astype(np.float64) / 2)
    return np.where(np.isfinite(distance), distance, np.inf)


@dataclass(frozen=True)
class Parameters:
    """All that a model has learned.

    `curves` [3, 2, knots] have certainties of `Scores`, and the share of incidents at each: of
    what is taken for each of `CLAIMS`. An alert farther than `strange` from all `examples`
    resembles nothing learned.
    """

    scorers: Scorers
    kinds: Forest
    curves: Floats
    thresholds: Thresholds
    centre: Floats
    spread: Floats
    examples: NDArray[np.float32]
    strange: float
    used: NDArray[np.int16]
    feature_edges: Floats
    score_edges: Floats

    def predict(self, vector: Floats) -> Prediction:
        """Predict for the features `vector.NAMES`; NaN is unknown."""
        vectors = vector[None]
        rows = prepare_rows(vectors)
        scores, apart = self.scorers.score(rows), unusual(vectors)
        claimed = claims(self.thresholds, scores, vectors)
        (confidence,) = calibrate(self.curves, claimed, scores, apart)
        (point,) = standardise(rows[:, self.used], self.centre, self.spread)
        known = nearest_distance(self.examples, point) <= self.strange
        return Prediction(
            answer=answer(int(claimed[0]), confidence) if known else Answer.UNDECIDED,
            score=float(scores.ranked[0]),
            confidence=float(confidence) if known else None,
            recurring=bool(recurs(vectors)[0]),
            unusual=float(apart[0]),
            kind=tuple(FaultKind)[int(self.kinds(rows)[0].argmax())],
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError if the arrays are not a model."""
        plain = ("curves", "centre", "spread", "examples", "used", "feature_edges", "score_edges")
        return cls(
            scorers=Scorers.from_arrays(arrays),
            kinds=Forest.from_arrays(arrays, "kinds_"),
            thresholds=Thresholds(*(float(limit) for limit in arrays["limits"])),
            strange=float(arrays["strange"].item()),
            **{name: arrays[name] for name in plain},
        )


def standardise(rows: Vectors, centre: Floats, spread: Floats) -> NDArray[np.float32]:
    """Rows in units of the training rows' spread; an unknown feature is 0."""
    unknown = rows <= UNKNOWN
    return np.where(unknown, 0.0, (rows - centre) / spread).astype(np.float32)


def nearest_distance(examples: NDArray[np.float32], point: NDArray[np.float32]) -> float:
    """The mean distance to the five nearest examples."""
    distance = np.abs(examples - point).mean(axis=1)
    return float(np.partition(distance, 5)[:5].mean())
