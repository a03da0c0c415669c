"""What was learnt: from a vector of features to how likely an incident is, and of which kind.

Three readings are put together. One knows the signatures of faults and of what only looks like
one; one knows how labelled incidents of real machines differ from their everyday alerts, whatever
their signature; and one says which of the two an alert is closer to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.features import NAMES
from models.forest import Floats, Forest

FORMAT = 1
UNKNOWN = -100.0
_FAR = 30.0
_LEAST_ODDS = 1e-3


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
    signatures: Sequence[Forest]
    natural: Forest
    injected: Forest
    kinds: Forest
    mix: Floats
    curve: Floats
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
        fault = np.mean([probability(one(rows)) for one in self.signatures], axis=0)
        natural, injected = probability(self.natural(rows)), probability(self.injected(rows))
        raw = combined(fault, natural, injected, self.mix)
        kinds = _softmax(self.kinds(rows))
        strange = self._strange(rows)
        names = tuple(Kind)
        return [
            Reading(
                score=float(1 / (1 + np.exp(-raw[line]))),
                confidence=float(np.interp(raw[line], *self.curve)),
                fault=float(fault[line]),
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
            "mix": self.mix,
            "curve": self.curve,
            "limits": np.array([self.limits.confirm, self.limits.refute, self.limits.strange]),
            "centre": self.centre,
            "spread": self.spread,
            "examples": self.examples,
            "strange_unit": np.array(self.strange_unit),
            "used": self.used,
            "feature_edges": self.feature_edges,
            "score_edges": self.score_edges,
        }
        for index, forest in enumerate(self.signatures):
            found |= forest.arrays(f"signature{index}_")
        for name in ("natural", "injected", "kinds"):
            found |= getattr(self, name).arrays(f"{name}_")
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError on arrays that are no model."""
        count = sum(name.endswith("_roots") and name.startswith("signature") for name in arrays)
        confirm, refute, strange = (float(one) for one in arrays["limits"])
        if arrays["mix"].shape != (4,):
            raise ValueError("the readings cannot be put together")
        return cls(
            signatures=[Forest.read(arrays, f"signature{index}_") for index in range(count)],
            natural=Forest.read(arrays, "natural_"),
            injected=Forest.read(arrays, "injected_"),
            kinds=Forest.read(arrays, "kinds_"),
            mix=arrays["mix"],
            curve=arrays["curve"],
            centre=arrays["centre"],
            spread=arrays["spread"],
            examples=arrays["examples"],
            used=arrays["used"],
            feature_edges=arrays["feature_edges"],
            score_edges=arrays["score_edges"],
            limits=Limits(confirm=confirm, refute=refute, strange=strange),
            strange_unit=float(arrays["strange_unit"].item()),
        )


def prepared(vectors: Floats) -> NDArray[np.float32]:
    """As the trees take them: bounded, and with a number that says unknown."""
    if vectors.ndim != 2 or vectors.shape[1] != len(NAMES):  # noqa: PLR2004 - rows and columns
        raise ValueError(f"{len(NAMES)} features are needed")
    bounded = np.clip(vectors, -_FAR, _FAR)
    return np.where(np.isfinite(vectors), bounded, UNKNOWN).astype(np.float32)


def combined(fault: Floats, natural: Floats, injected: Floats, mix: Floats) -> Floats:
    """The readings as one, in log-odds: either of the first two is enough.

    The second has a word only as far as the third says that it knows such cases. `mix` is the
    slope and offset of the second, then those of the third.
    """
    gate = -np.logaddexp(0, mix[2] * log_odds(injected) + mix[3])
    return np.asarray(np.logaddexp(log_odds(fault), mix[0] * log_odds(natural) + mix[1] + gate))


def log_odds(share: Floats) -> Floats:
    share = np.clip(share, _LEAST_ODDS, 1 - _LEAST_ODDS)
    return np.asarray(np.log(share / (1 - share)))


def placed(rows: NDArray[np.floating[Any]], centre: Floats, spread: Floats) -> NDArray[np.float32]:
    unknown = rows <= UNKNOWN
    return np.where(unknown, 0.0, (rows - centre) / spread).astype(np.float32)


def nearest(examples: NDArray[np.float32], mine: NDArray[np.float32]) -> float:
    """The mean distance to the five nearest examples."""
    distance = np.abs(examples - mine).mean(axis=1)
    return float(np.partition(distance, 5)[:5].mean())


def probability(raw: Floats) -> Floats:
    """Of a boosting's one score."""
    return np.asarray(1 / (1 + np.exp(-raw[:, 0])))


def _softmax(raw: Floats) -> Floats:
    if raw.shape[1] == len(Kind) - 1:
        raw = np.column_stack([raw, np.full(len(raw), -np.inf)])
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
