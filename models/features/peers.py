"""Compares a target with the other members of its group: which moved as it did, and carry more.

The past of siblings is half an hour, and a change that began earlier fills it. Their usual level is
therefore the target's, where that is farther from the present: members are alike.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.features.baselines import MOVED, Levels
from models.features.window import Window

Floats = NDArray[np.float64]

NAMES = ("peers", "along", "all_along")
TRAFFIC = ("net_rx_bytes", "net_tx_bytes", "tcp_established")
# From this deviation on the leading role has moved.
_MOVED_Z = 4.0
# The share of the target's change by which a sibling must change to have moved the same way.
_SHARE_OF_CHANGE = 0.5
# From this ratio of traffic growth to the growth of the leading role on, load explains it. It is
# below 1, because idle CPU is not zero and CPU saturates; load grows without bound then.
_SHARE_OF_GROWTH, _LEAST_GROWTH, _ENOUGH_GROWTH = 0.3, 0.3, 0.6
_MOST, _FEW = 0.6, 1 / 3
_FARTHEST = 2.0


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """Counts of siblings: `compared` out of `seen`, `moved` as the target's leading role did.

    `surging` says whether the whole group carries more traffic; None is unknown.
    """

    seen: int
    compared: int
    moved: int
    surging: bool | None

    @property
    def enough(self) -> bool:
        return self.compared > 0 and 2 * self.compared >= self.seen

    @property
    def few_moved(self) -> bool:
        """Whether the target moved alone."""
        return self.enough and self.moved <= _FEW * self.compared

    @property
    def most_moved(self) -> bool:
        return self.enough and self.moved >= _MOST * self.compared


def compare(window: Window, levels: Levels, lead: int) -> tuple[Siblings | None, tuple[float, ...]]:
    """The siblings, None if they are unknown, and the features `NAMES`.

    `window` has the roles of `levels`, `lead` is the row of the leading role.
    """
    if window.peers is None:
        return None, (np.nan,) * len(NAMES)
    seen = len(window.peers)
    if not seen:
        return Siblings(seen=0, compared=0, moved=0, surging=None), (0.0, np.nan, np.nan)
    change = levels.now - levels.usual
    now, before = window.peers[:, :, 0], window.peers[:, :, 1]
    base = np.where(change < 0, np.fmax(before, levels.usual), np.fmin(before, levels.usual))
    base = np.where(np.isnan(before), np.nan, base)
    z = change / levels.sigma
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.clip((now - base) / change, -_FARTHEST, _FARTHEST)
    lead = _comparable(ratio, z, lead)
    own = ratio[:, lead][np.isfinite(ratio[:, lead])]
    compared = len(own)
    if abs(z[lead]) >= _MOVED_Z:
        moved = int((own >= _SHARE_OF_CHANGE).sum())
    else:
        moved = _moved_in_week(window, levels, lead)
    busier = _busier(now, base, window, levels, lead)
    known = busier[1:][busier[1:] >= 0]
    siblings = Siblings(seen=seen, compared=compared, moved=moved, surging=None)
    # Traffic explains what rises with it, and not itself.
    if change[lead] > 0 and levels.roles[lead] not in TRAFFIC:
        siblings = replace(siblings, surging=_surging(siblings, busier[0], known))
    elif siblings.few_moved:
        siblings = replace(siblings, surging=False)
    return siblings, (
        float(seen),
        float(np.median(own)) if compared else np.nan,
        _all_along(ratio[:, np.abs(z) >= _MOVED_Z]),
    )


def _comparable(ratio: Floats, z: Floats, lead: int) -> int:
    """The leading role, or where no sibling has it, the role of theirs that moved the most."""
    known = np.asarray(np.isfinite(ratio).any(axis=0))
    return lead if known[lead] or not known.any() else int(np.where(known, np.abs(z), -1).argmax())


def _moved_in_week(window: Window, levels: Levels, lead: int) -> int:
    """How many siblings moved as a role that is far from its week, though not for this hour.

    Jobs at this hour of some days make nearly all usual at it.
    """
    if window.peers is None or abs(levels.columns["now"][lead]) < MOVED:
        return 0
    now, before = window.peers[:, lead, 0], window.peers[:, lead, 1]
    usual, change = levels.middle[lead], levels.now[lead] - levels.middle[lead]
    base = np.maximum(before, usual) if change < 0 else np.minimum(before, usual)
    with np.errstate(invalid="ignore"):
        return int(((now - base) / change >= _SHARE_OF_CHANGE).sum())


def _all_along(ratio: Floats) -> float:
    """The median over the roles that moved, and over siblings, of their share of the change."""
    known = ratio[np.isfinite(ratio)]
    return float(np.median(known)) if len(known) else np.nan


def _busier(
    now: Floats, base: Floats, window: Window, levels: Levels, lead: int
) -> NDArray[np.float64]:
    """Whether traffic grew, first of the target, then of each sibling: 1, 0, or -1 for unknown."""
    least = np.maximum(np.abs(levels.usual), np.maximum(window.floors, 1e-12))
    grown = np.vstack([levels.now - levels.usual, now - base]) / np.vstack(
        [least, np.maximum(np.abs(base), np.maximum(window.floors, 1e-12))]
    )
    traffic = [row for row, role in enumerate(levels.roles) if role in TRAFFIC]
    needed = min(max(_LEAST_GROWTH, _SHARE_OF_GROWTH * grown[0, lead]), _ENOUGH_GROWTH)
    known = np.isfinite(grown[:, traffic])
    most = 2 * (known & (grown[:, traffic] >= needed)).sum(axis=1) > known.sum(axis=1)
    return np.where(known.any(axis=1), most.astype(np.float64), -1.0)


def _surging(siblings: Siblings, target: float, known: Floats) -> bool | None:
    if siblings.few_moved:
        return False
    if not siblings.most_moved or target < 0 or 2 * len(known) < siblings.compared:
        return None
    return bool(target > 0 and known.sum() >= _MOST * len(known))
