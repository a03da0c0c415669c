"""What was learnt: from a vector of features to how likely an incident is, and of which kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.inference.scorers import UNKNOWN, Mix, Parts, prepared
from models.inference.tree_ensemble import Floats, Forest

FORMAT = 2


class Kind(StrEnum):
    """What kind of fault it looks like."""

    RUNAWAY_PROCESS = "runaway_process"
    MEMORY_LEAK = "memory_leak"
    DISK = "disk"
    NETWORK = "network"
    HANG = "hang"
    OVERLOAD = "overload"
    GROUP_LOAD = "group_load"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read from one alert.

    `score` in [0, 1] orders alerts, `confidence` is the calibrated probability of an incident;
    `fault` is how far the signature alone speaks for a fault, `strange` how unlike all that was
    trained on the case is (1 is as far as the farthest percent of it).
    """

    score: float
    confidence: float
    fault: float
    strange: float
    kind: Kind
    kind_share: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where answers change.

    Confirmed from `confirm` of `Reading.fault` on, refuted up to `refute` of `Reading.score`,
    and neither beyond `strange`.
    """

    confirm: float
    refute: float
    strange: float


@dataclass(frozen=True)
class Learned:
    parts: Parts
    kinds: Forest
    mix: Mix
    curves: Floats
    limits: Limits
    centre: Floats
    spread: Floats
    examples: NDArray[np.float32]
    strange_unit: float
    used: NDArray[np.int16]
    feature_edges: Floats
    score_edges: Floats

    def read(self, vectors: Floats) -> list[Reading]:
        """[rows, features] as `models.features.NAMES`, NaN is unknown."""
        rows = prepared(vectors)
        found = self.parts.read(rows)
        raw = found.combined(self.mix)
        confidence = found.confidence(raw, self.curves)
        kinds = _softmax(self.kinds(rows))
        strange = self._strange(rows)
        names = tuple(Kind)
        return [
            Reading(
                score=float(1 / (1 + np.exp(-raw[line]))),
                confidence=float(confidence[line]),
                fault=float(found.fault[line]),
                strange=float(strange[line]),
                kind=names[int(kinds[line].argmax())],
                kind_share=float(kinds[line].max()),
            )
            for line in range(len(rows))
        ]

    def _strange(self, rows: NDArray[np.float32]) -> Floats:
        mine = placed(rows[:, self.used], self.centre, self.spread)
        return np.array([nearest(self.examples, one) for one in mine]) / self.strange_unit

    def arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {
            "mix": self.mix.array(),
            "curves": self.curves,
            "limits": np.array([self.limits.confirm, self.limits.refute, self.limits.strange]),
            "centre": self.centre,
            "spread": self.spread,
            "examples": self.examples,
            "strange_unit": np.array(self.strange_unit),
            "used": self.used,
            "feature_edges": self.feature_edges,
            "score_edges": self.score_edges,
        }
        return found | self.parts.arrays() | self.kinds.arrays("kinds_")

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError on arrays that are no model."""
        confirm, refute, strange = (float(one) for one in arrays["limits"])
        return cls(
            parts=Parts.of(arrays),
            kinds=Forest.read(arrays, "kinds_"),
            mix=Mix.of(arrays["mix"]),
            curves=arrays["curves"],
            centre=arrays["centre"],
            spread=arrays["spread"],
            examples=arrays["examples"],
            used=arrays["used"],
            feature_edges=arrays["feature_edges"],
            score_edges=arrays["score_edges"],
            limits=Limits(confirm=confirm, refute=refute, strange=strange),
            strange_unit=float(arrays["strange_unit"].item()),
        )


def placed(rows: NDArray[np.floating[Any]], centre: Floats, spread: Floats) -> NDArray[np.float32]:
    unknown = rows <= UNKNOWN
    return np.where(unknown, 0.0, (rows - centre) / spread).astype(np.float32)


def nearest(examples: NDArray[np.float32], mine: NDArray[np.float32]) -> float:
    """The mean distance to the five nearest examples."""
    distance = np.abs(examples - mine).mean(axis=1)
    return float(np.partition(distance, 5)[:5].mean())


def _softmax(raw: Floats) -> Floats:
    if raw.shape[1] == len(Kind) - 1:
        raw = np.column_stack([raw, np.full(len(raw), -np.inf)])
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
