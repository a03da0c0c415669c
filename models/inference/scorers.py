"""What the parts of the model read from an alert, and how their readings become one.

A part is a forest that gives a probability. One knows the signatures of faults and of what only
looks like one. Two know how incidents that were labelled on real machines differ: the first by
distance alone, from everyday alerts; the second by all there is, from look-alikes, too. Two more
say how close an alert is to what was injected, and to injected look-alikes.
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
# How steeply an alert stops counting as one that was injected, in log-odds.
_STEEP = 2.0


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How readings are put together, all in log-odds.

    `slope` and `offset` of the distance; `gate`, `gate_offset` and `alike` of what lets it count:
    an incident by the second reading, and no look-alike; `doubt` is what a signature loses on an
    alert that is like none that was injected, below `everyday`.
    """

    slope: float
    offset: float
    gate: float
    gate_offset: float
    alike: float
    doubt: float
    everyday: float

    def array(self) -> Floats:
        return np.array([getattr(self, one.name) for one in fields(self)])

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Raises ValueError."""
        names = [one.name for one in fields(cls)]
        if values.shape != (len(names),):
            raise ValueError("the readings cannot be put together")
        return cls(**dict(zip(names, values.tolist(), strict=True)))


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Probabilities, an entry an alert."""

    fault: Floats
    distant: Floats
    genuine: Floats
    injected: Floats
    alike: Floats

    def combined(self, mix: Mix) -> Floats:
        """One reading, in log-odds: a signature is enough, and so is a distance that counts."""
        injected = log_odds(self.injected)
        doubt = mix.doubt / (1 + np.exp(_STEEP * (injected - mix.everyday)))
        open_by = mix.gate * (log_odds(self.genuine) - mix.alike * log_odds(self.alike))
        gate = -np.logaddexp(0, -open_by - mix.gate_offset)
        distance = mix.slope * log_odds(self.distant) + mix.offset
        return np.asarray(np.logaddexp(log_odds(self.fault) - doubt, distance + gate))

    def confidence(self, raw: Floats, curves: Floats) -> Floats:
        """The probability of an incident at `combined` readings.

        `curves` [3, knots] are readings, and the shares of incidents seen there among alerts like
        those that were injected and among everyday ones: the same reading means more on the first.
        """
        at, among_injected, among_everyday = curves
        return np.asarray(
            self.injected * np.interp(raw, at, among_injected)
            + (1 - self.injected) * np.interp(raw, at, among_everyday)
        )

    def only(self, kept: NDArray[np.bool_]) -> Self:
        return type(self)(**{one.name: getattr(self, one.name)[kept] for one in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A forest for each of `Readings`, named alike."""

    fault: Forest
    distant: Forest
    genuine: Forest
    injected: Forest
    alike: Forest

    def read(self, rows: NDArray[np.float32]) -> Readings:
        """Of rows as `prepared` gives them."""
        names = [one.name for one in fields(self)]
        return Readings(**{name: probability(getattr(self, name)(rows)) for name in names})

    def arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for one in fields(self):
            found |= getattr(self, one.name).arrays(f"{one.name}_")
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError on arrays that are no forests."""
        return cls(**{one.name: Forest.read(arrays, f"{one.name}_") for one in fields(cls)})


def prepared(vectors: Floats) -> NDArray[np.float32]:
    """As the trees take them: bounded, and with a number that says unknown."""
    if vectors.ndim != 2 or vectors.shape[1] != len(NAMES):  # noqa: PLR2004 - rows and columns
        raise ValueError(f"{len(NAMES)} features are needed")
    bounded = np.clip(vectors, -_FAR, _FAR)
    return np.where(np.isfinite(vectors), bounded, UNKNOWN).astype(np.float32)


def log_odds(share: Floats) -> Floats:
    share = np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return np.asarray(np.log(share / (1 - share)))


def probability(raw: Floats) -> Floats:
    """Of a boosting's one score."""
    return np.asarray(1 / (1 + np.exp(-raw[:, 0])))
