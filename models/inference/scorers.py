"""The scorers of the ensemble, and the combination of their scores.

A scorer is a forest that gives a probability. `fault` knows the signatures of faults and of their
look-alikes. `distant` and `genuine` are trained on incidents of real machines. `distant` separates
these incidents from everyday alerts, by distance alone; `genuine` separates them from everyday
alerts and look-alikes, by all features. `injected` and `alike` say how close an alert is to
injected faults and look-alikes. `distance` is no scorer: nothing is learned of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.features.vector import NAMES
from models.inference.tree_ensemble import Floats, Forest

UNKNOWN = -100.0
_FAR = 30.0
_LEAST_SHARE = 1e-3
# Steepness, per log-odds, of the change from injected to everyday alerts.
_STEEP = 2.0
# A host is never quite still.
_STILL = 0.1
_NEAREST = NAMES.index("near30")


@dataclass(frozen=True, kw_only=True)
class EnsembleWeights:
    """The weights of the scores' combination, in log-odds.

    `slope` and `offset` scale the distance. `gate`, `gate_offset` and `alike` set the gate of the
    distance: the distance counts where the score `genuine` is high and the score `alike` is low.
    `doubt` is subtracted from the score `fault` of an alert whose score `injected` is below
    `everyday`. `near_offset` is added to the logarithm of the distance that nothing learned.
    """

    slope: float
    offset: float
    gate: float
    gate_offset: float
    alike: float
    doubt: float
    everyday: float
    near_offset: float

    def array(self) -> Floats:
        return np.array([getattr(self, field.name) for field in fields(self)])

    @classmethod
    def from_array(cls, values: Floats) -> Self:
        """Raises ValueError if the number of weights differs."""
        names = [field.name for field in fields(cls)]
        if values.shape != (len(names),):
            raise ValueError(f"{len(names)} ensemble weights are needed, not {values.size}")
        return cls(**dict(zip(names, values.tolist(), strict=True)))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Probabilities by scorer, with an entry for each alert.

    `distance` is that to the 30th nearest moment of the target's own past, in deviations; 0 if it
    is unknown.
    """

    fault: Floats
    distant: Floats
    genuine: Floats
    injected: Floats
    alike: Floats
    distance: Floats

    def combine(self, weights: EnsembleWeights) -> Floats:
        """One score per alert, in log-odds: high for a signature, or a distance with open gate.

        On machines unlike those of the training the gate stays shut. There the distance itself
        still ranks alerts, less so if they are like a known harmless event.
        """
        injected = log_odds(self.injected)
        doubt = weights.doubt / (1 + np.exp(_STEEP * (injected - weights.everyday)))
        open_by = weights.gate * (log_odds(self.genuine) - weights.alike * log_odds(self.alike))
        gate = -np.logaddexp(0, -open_by - weights.gate_offset)
        distance = weights.slope * log_odds(self.distant) + weights.offset
        near = np.log(self.distance + _STILL) + weights.near_offset
        harmless = np.logaddexp(0, log_odds(self.alike)) / 2
        learned = np.logaddexp(log_odds(self.fault) - doubt, distance + gate)
        return np.asarray(np.logaddexp(learned, near - harmless))

    def confidence(self, combined: Floats, curves: Floats) -> Floats:
        """The probability of an incident at `combined` scores.

        `curves` [3, knots] has combined scores, and for each score the share of incidents among
        alerts like the injected ones, then among everyday alerts. The same score means a higher
        probability for alerts like the injected ones.
        """
        at, among_injected, among_everyday = curves
        return np.asarray(
            self.injected * np.interp(combined, at, among_injected)
            + (1 - self.injected) * np.interp(combined, at, among_everyday)
        )

    def only(self, kept: NDArray[np.bool_]) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[kept] for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Scorers:
    """A forest for each probability of `Scores`, under the same name."""

    fault: Forest
    distant: Forest
    genuine: Forest
    injected: Forest
    alike: Forest

    def score(self, rows: NDArray[np.float32]) -> Scores:
        """The scores of `rows`, as `prepare_rows` returns them."""
        names = [field.name for field in fields(self)]
        shares = {name: probability(getattr(self, name)(rows)) for name in names}
        distance = rows[:, _NEAREST].astype(np.float64)
        return Scores(**shares, distance=np.where(distance == UNKNOWN, 0.0, distance))

    def arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {}
        for field in fields(self):
            arrays |= getattr(self, field.name).arrays(f"{field.name}_")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError if the arrays are not forests."""
        return cls(
            **{field.name: Forest.from_arrays(arrays, f"{field.name}_") for field in fields(cls)}
        )


def prepare_rows(vectors: Floats) -> NDArray[np.float32]:
    """Bound the vectors and replace NaN by `UNKNOWN`, for the trees. Raises ValueError."""
    if vectors.shape != (len(vectors), len(NAMES)):
        raise ValueError(f"{len(NAMES)} features are needed")
    bounded = np.clip(vectors, -_FAR, _FAR)
    return np.where(np.isfinite(vectors), bounded, UNKNOWN).astype(np.float32)


def log_odds(share: Floats) -> Floats:
    share = np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return np.asarray(np.log(share / (1 - share)))


def probability(raw: Floats) -> Floats:
    """The probabilities for raw scores of a boosting with one output."""
    return np.asarray(1 / (1 + np.exp(-raw[:, 0])))
