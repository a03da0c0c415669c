"""The scorers, and the one score that they and the distance from the host's own past give.

A scorer is a forest that gives a probability. `fault` knows the signatures of faults and of their
look-alikes, `alike` those of the look-alikes alone. `distance` is no scorer: nothing is learned of
it, so it ranks incidents of machines unlike those of the training, too.
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
# A host is never quite still.
_STILL = 0.1
_DISTANCES = [NAMES.index(name) for name in ("near30_flat", "near30_steep", "size_ratio")]
# How the score is put together, in log-odds. Chosen once, on three published sets and by models
# that were trained without each of them: more of the distance ranks incidents of real machines
# better, more of the signature those of kinds and machines never seen. From `_PLAIN` on a
# signature is as plain as a distance can be, and a plainer one only breaks ties.
_SIGNATURE, _PLAIN, _TIES = 2.97, -1.42, 0.27
_DISTANCE, _NEAR, _HARMLESS = 4.75, -2.46, 0.5
# Where the score is one half: above it are half of the alerts with a signature that confirms.
_HALF = -2.8
# What a signature adds to the certainty of an undecided, a confirmed and a refuted alert, but not
# to the rank. Of a signature that confirms the distance says little of whether it is right.
_CERTAIN = (0.2, 2.5, 0.2)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Probabilities by scorer, with an entry for each alert.

    `distance` is the logarithm of the distance from the target's own past, in deviations: the mean
    over three measures of it. It is lowest where it is unknown.
    """

    fault: Floats
    alike: Floats
    distance: Floats

    @property
    def combined(self) -> Floats:
        """One score per alert: high for a signature, or for a distance.

        The distance of an alert like a known harmless event counts less.
        """
        harmless = np.logaddexp(0, log_odds(self.alike))
        fault = log_odds(self.fault)
        far = _DISTANCE * self.distance + _NEAR - _HARMLESS * harmless
        either = np.logaddexp(_SIGNATURE * np.minimum(fault, _PLAIN), far)
        return np.asarray(either + _TIES * fault)

    @property
    def ranked(self) -> Floats:
        """The one score, in [0, 1]."""
        return np.asarray(1 / (1 + np.exp(_HALF - self.combined)))

    @property
    def certainties(self) -> tuple[Floats, ...]:
        """What gives the probability of an undecided, a confirmed and a refuted alert."""
        combined, fault = self.combined, log_odds(self.fault)
        return tuple(combined + more * fault for more in _CERTAIN)

    def only(self, kept: NDArray[np.bool_]) -> Self:
        return type(self)(**{field.name: getattr(self, field.name)[kept] for field in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Scorers:
    """A forest for each probability of `Scores`, under the same name."""

    fault: Forest
    alike: Forest

    def score(self, rows: NDArray[np.float32]) -> Scores:
        """The scores of `rows`, as `prepare_rows` returns them."""
        fault, alike = (1 / (1 + np.exp(-each(rows)[:, 0])) for each in (self.fault, self.alike))
        measured = rows[:, _DISTANCES].astype(np.float64)
        known = np.where(measured == UNKNOWN, 0.0, measured)
        return Scores(fault=fault, alike=alike, distance=np.log(known + _STILL).mean(axis=1))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises KeyError and ValueError if the arrays are not forests."""
        fault, alike = (Forest.from_arrays(arrays, f"{name}_") for name in ("fault", "alike"))
        return cls(fault=fault, alike=alike)


def prepare_rows(vectors: Floats) -> NDArray[np.float32]:
    """Bound the vectors and replace NaN by `UNKNOWN`, for the trees. Raises ValueError."""
    if vectors.shape != (len(vectors), len(NAMES)):
        raise ValueError(f"{len(NAMES)} features are needed")
    bounded = np.clip(vectors, -_FAR, _FAR)
    return np.where(np.isfinite(vectors), bounded, UNKNOWN).astype(np.float32)


def log_odds(share: Floats) -> Floats:
    share = np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return np.asarray(np.log(share / (1 - share)))
