"""The learned parameters, which turn a vector into the probability and kind of an incident."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.features.vector import NAMES
from models.inference.scorers import UNKNOWN, Scorers, prepare_rows
from models.inference.tree_ensemble import Floats, Forest
from models.inference.verdict import Answer

FORMAT = 4
_EVEN = 0.5
# The most that is told of a host within its own range: there a signature is all that speaks, and
# on labels of real machines it was wrong more often than right where it was surest.
_MOST_WHILE_USUAL = 0.94
_APART = NAMES.index("apart_ratio")
_OF_DAYS, _ON_DAYS = NAMES.index("all_of_days"), NAMES.index("all_count")
_DAYS_AT_LEAST = 3


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
    """The model's output for one alert.

    `score` in [0, 1] orders alerts, `confidence` is the calibrated probability of an incident.
    `fault` is the probability of a fault by the signature alone, `alike` that of a known harmless
    event; `usual` says what `is_usual` does, `recurring` what `recurs` does. `strange` is the
    distance to the training examples; 99 % of them are within 1. `unusual` is the distance from the
    target's own past, of which 99 % is within 1.
    """

    score: float
    confidence: float
    fault: float
    alike: float
    usual: bool
    recurring: bool
    strange: float
    unusual: float
    kind: FaultKind


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The bounds of `decide`; beyond `strange` an alert resembles no training example."""

    confirm: float
    refute: float
    strange: float


def decide(
    thresholds: Thresholds, *, fault: float, confidence: float, score: float, usual: bool
) -> Answer:
    """The answer about a host alone.

    Confirmed by the signature, and never below an even chance; refuted only where the score is low
    and the host is as `usual`. The score of what recurs does not count: it is 0.
    """
    if fault >= thresholds.confirm:
        return Answer.CONFIRMED if confidence >= _EVEN else Answer.UNDECIDED
    return Answer.REFUTED if score <= thresholds.refute and usual else Answer.UNDECIDED


def recurs(vectors: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Of each vector, whether it was so at this hour on most other days."""
    share, days = vectors[:, _OF_DAYS], vectors[:, _ON_DAYS]
    return np.asarray((share >= _EVEN) & (days >= _DAYS_AT_LEAST))


def days_alike(vector: NDArray[np.floating[Any]]) -> tuple[int, int]:
    """On how many earlier days it was so at this hour, and of how many; none if it never was."""
    share, days = vector[_OF_DAYS], vector[_ON_DAYS]
    return (round(float(days)), round(float(days / share))) if share > 0 else (0, 0)


def is_usual(vectors: NDArray[np.floating[Any]], alike: Floats) -> NDArray[np.bool_]:
    """Of each vector, whether the target is within its own range, or alike what is harmless.

    That is a known harmless event by its probability `alike`, or what recurs at this hour.
    """
    return np.asarray((alike >= _EVEN) | (unusual(vectors) <= 1) | recurs(vectors))


def calibrate(curve: Floats, certainty: Floats, unusual: Floats) -> Floats:
    """The probability of an incident for each certainty, by the `curve` of `Parameters`.

    A host within its own range (`unusual` up to 1) is never told to be ill at 0.95 or more.
    """
    most = np.where(unusual <= 1, _MOST_WHILE_USUAL, 1.0)
    return np.minimum(np.interp(certainty, *curve), most)


def unusual(vectors: NDArray[np.floating[Any]]) -> Floats:
    """Mahalanobis' distance from the own past, in units of its 99th percentile, of each vector.

    Infinite where it is unknown.
    """
    # The feature is the decadic logarithm of its square.
    distance = 10 ** (vectors[:, _APART].astype(np.float64) / 2)
    return np.where(np.isfinite(distance), distance, np.inf)


@dataclass(frozen=True)
class Parameters:
    """All that a model has learned; `arrays` and `from_arrays` convert it for the disk.

    `curve` [2, knots] has certainties of `Scores`, and the share of incidents at each.
    """

    scorers: Scorers
    kinds: Forest
    curve: Floats
    thresholds: Thresholds
    centre: Floats
    spread: Floats
    examples: NDArray[np.float32]
    strange_unit: float
    used: NDArray[np.int16]
    feature_edges: Floats
    score_edges: Floats

    def predict(self, vectors: Floats) -> list[Prediction]:
        """Predict for [rows, features], with features as in `vector.NAMES`; NaN is unknown."""
        rows = prepare_rows(vectors)
        scores = self.scorers.score(rows)
        combined = scores.combined
        kinds = _softmax(self.kinds(rows))
        strange, apart = self._strange(rows), unusual(vectors)
        confidence = calibrate(self.curve, scores.certainty, apart)
        usual, recurring = is_usual(vectors, scores.alike), recurs(vectors)
        names = tuple(FaultKind)
        return [
            Prediction(
                score=float(1 / (1 + np.exp(-combined[row]))),
                confidence=float(confidence[row]),
                fault=float(scores.fault[row]),
                alike=float(scores.alike[row]),
                usual=bool(usual[row]),
                recurring=bool(recurring[row]),
                strange=float(strange[row]),
                unusual=float(apart[row]),
                kind=names[int(kinds[row].argmax())],
            )
            for row in range(len(rows))
        ]

    def _strange(self, rows: NDArray[np.float32]) -> Floats:
        points = standardise(rows[:, self.used], self.centre, self.spread)
        return (
            np.array([nearest_distance(self.examples, point) for point in points])
            / self.strange_unit
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        own: dict[str, NDArray[Any]] = {
            "curve": self.curve,
            "limits": np.array(
                [self.thresholds.confirm, self.thresholds.refute, self.thresholds.strange]
            ),
            "centre": self.centre,
            "spread": self.spread,
            "examples": self.examples,
            "strange_unit": np.array(self.strange_unit),
            "used": self.used,
            "feature_edges": self.feature_edges,
            "score_edges": self.score_edges,
        }
        return own | self.scorers.arrays() | self.kinds.arrays("kinds_")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError if the arrays are not a model."""
        confirm, refute, strange = (float(value) for value in arrays["limits"])
        return cls(
            scorers=Scorers.from_arrays(arrays),
            kinds=Forest.from_arrays(arrays, "kinds_"),
            curve=arrays["curve"],
            centre=arrays["centre"],
            spread=arrays["spread"],
            examples=arrays["examples"],
            used=arrays["used"],
            feature_edges=arrays["feature_edges"],
            score_edges=arrays["score_edges"],
            thresholds=Thresholds(confirm=confirm, refute=refute, strange=strange),
            strange_unit=float(arrays["strange_unit"].item()),
        )


def standardise(
    rows: NDArray[np.floating[Any]], centre: Floats, spread: Floats
) -> NDArray[np.float32]:
    """Rows in units of the training rows' spread; an unknown feature is 0."""
    unknown = rows <= UNKNOWN
    return np.where(unknown, 0.0, (rows - centre) / spread).astype(np.float32)


def nearest_distance(examples: NDArray[np.float32], point: NDArray[np.float32]) -> float:
    """The mean distance to the five nearest examples."""
    distance = np.abs(examples - point).mean(axis=1)
    return float(np.partition(distance, 5)[:5].mean())


def _softmax(raw: Floats) -> Floats:
    if raw.shape[1] == len(FaultKind) - 1:
        raw = np.column_stack([raw, np.full(len(raw), -np.inf)])
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
