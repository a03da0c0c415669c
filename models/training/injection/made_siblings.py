"""Siblings made up for a recorded machine: members of its group, which are much like it.

Each has the machine's own metrics, a few minutes late and with a level of its own. What was
injected into the machine they show in part, or not at all.
"""

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence
from models.training.labelled_sets import RecordedTarget

Floats = NDArray[np.float64]

_ROWS = 30
_LATEST_ROWS = 3
_DAY_ROWS = 1440
_MOST_DAYS_AGO = 3
_MOST_SIBLINGS = 8
# A sibling that does as the others do not.
_ODD_ONE = 0.06
_LEVELS = 0.05


def made_siblings(
    target: RecordedTarget, evidence: Evidence, rng: np.random.Generator, *, together: bool
) -> Floats:
    """The `peers` of `models.features.window.Window`; whether they show what the target shows."""
    row = target.row(evidence.at)
    recent = evidence.recent or {}
    mine = np.array([recent[role].values[-_ROWS:] for role in target.roles])
    plain = _metrics(target, row)
    injected = np.any(mine != plain)
    grid = np.empty((int(rng.integers(1, _MOST_SIBLINGS + 1)), len(target.roles), 2))
    for sibling in grid:
        moved = together != (rng.random() < _ODD_ONE)
        late = int(rng.integers(0, 4))
        if not moved and not injected:
            # What the machine itself did is not what this one did.
            late += _DAY_ROWS * int(rng.integers(1, _MOST_DAYS_AGO + 1))
        share = rng.uniform(0.6, 1.3) if moved else 0.0
        values = _metrics(target, row - late) + share * (mine - plain)
        values *= rng.lognormal(0, _LEVELS, (len(values), 1))
        sibling[:, 0] = values[:, -1]
        sibling[:, 1] = np.median(values[:, :-_LATEST_ROWS], axis=1)
    return grid


def _metrics(target: RecordedTarget, row: int) -> Floats:
    return target.values[row - _ROWS + 1 : row + 1].T.astype(np.float64)
