"""Scores a host without an alert: the re-check's own path, told as numbers.

The probability is the model's, calibrated on alerts: of the moments without any it is high at few.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.features.evidence import Evidence, Series
from models.features.signals import ROLES
from models.inference.artifact import Model
from models.inference.detector import examine
from models.inference.verdict import Answer

# Of the siblings that can be compared; from here on no single host is at fault.
_FEW = 1 / 3
# The past's ends, beyond which a role is worth a look.
_TAIL = 0.001


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How a host is; None where the evidence is too small.

    `unusual` is the distance from its own past, of which 99 % is within 1. `probability` is that of
    a fault of the kind, unknown where the host resembles nothing that the model learned.
    """

    unusual: float | None = None
    kind: str | None = None
    probability: float | None = None


def score(model: Model | None, evidence: Evidence) -> Outlook:
    """The outlook of a host; samples after `evidence.at` have no effect."""
    examined = examine(model, evidence)
    verdict, prediction = examined.verdict, examined.prediction
    if model is None or prediction is None:
        return Outlook()
    alone = not verdict.peers or (verdict.peers_moved or 0) / verdict.peers <= _FEW
    faulty = verdict.answer is not Answer.REFUTED and (alone or verdict.surging)
    return Outlook(
        unusual=verdict.unusual,
        kind=verdict.kind or prediction.kind.value,
        probability=prediction.confidence if faulty else 0.0,
    )


def usual_ranges(history: Mapping[str, Series]) -> dict[str, tuple[float, float]]:
    """By role, between which values nearly all of the past lies."""
    ranges = {}
    for role, series in history.items():
        values = np.asarray(series.values, dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            noise = ROLES[role].noise if role in ROLES else 0.0
            low, high = np.quantile(values, (_TAIL, 1 - _TAIL))
            ranges[role] = (float(low) - noise, float(high) + noise)
    return ranges
