"""The learned parameters, which turn a vector into the probability and kind of an incident."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.inference.scorers import UNKNOWN, EnsembleWeights, Scorers, prepare_rows
from models.inference.tree_ensemble import Floats, Forest

FORMAT = 2


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
    `fault` is the probability of a fault by the signature alone. `strange` is the distance to the
    training examples; 99 % of them are within 1.
    """

    score: float
    confidence: float
    fault: float
    strange: float
    kind: FaultKind
    kind_share: float


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The bounds of the answers.

    An alert is confirmed if `Prediction.fault` is at least `confirm`, refuted if `Prediction.score`
    is at most `refute`, undecided beyond `strange`.
    """

    confirm: float
    refute: float
    strange: float


@dataclass(frozen=True)
class Parameters:
    """All that a model has learned; `arrays` and `from_arrays` convert it for the disk."""

    scorers: Scorers
    kinds: Forest
    weights: EnsembleWeights
    curves: Floats
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
        combined = scores.combine(self.weights)
        confidence = scores.confidence(combined, self.curves)
        kinds = _softmax(self.kinds(rows))
        strange = self._strange(rows)
        names = tuple(FaultKind)
        return [
            Prediction(
                score=float(1 / (1 + np.exp(-combined[row]))),
                confidence=float(confidence[row]),
                fault=float(scores.fault[row]),
                strange=float(strange[row]),
                kind=names[int(kinds[row].argmax())],
                kind_share=float(kinds[row].max()),
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
            "mix": self.weights.array(),
            "curves": self.curves,
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
            weights=EnsembleWeights.from_array(arrays["mix"]),
            curves=arrays["curves"],
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
