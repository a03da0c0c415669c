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
    base, ratio = _shares(window.peers, levels, levels.usual)
    z = (levels.now - levels.usual) / levels.sigma
    lead = _comparable(ratio, z, lead)
    own = moved = ratio[:, lead][np.isfinite(ratio[:, lead])]
    if abs(z[lead]) < _MOVED_Z:
        # Jobs at this hour of some days make nearly all usual at it, but not for the whole week.
        far = abs(levels.columns["now"][lead]) >= MOVED
        moved = _shares(window.peers, levels, levels.middle)[1][:, lead] if far else moved[:0]
    siblings = Siblings(
        seen=len(window.peers),
        compared=len(own),
        moved=int((moved >= _SHARE_OF_CHANGE).sum()),
        surging=None,
    )
    # Traffic explains what rises with it, and not itself.
    explains = levels.now[lead] > levels.usual[lead] and levels.roles[lead] not in TRAFFIC
    busier = _busier(window.peers[:, :, 0], base, window.floors, levels, lead)
    return replace(siblings, surging=_surging(siblings, busier, explains=explains)), (
        float(siblings.seen),
        float(np.median(own)) if len(own) else np.nan,
        _all_along(ratio[:, np.abs(z) >= _MOVED_Z]),
    )


def _shares(peers: Floats, levels: Levels, usual: Floats) -> tuple[Floats, Floats]:
    """The siblings' base level, and the share of the target's change by which each changed.

    Both are [siblings, roles]; NaN is unknown.
    """
    change, now, before = levels.now - usual, peers[:, :, 0], peers[:, :, 1]
    base = np.where(change < 0, np.maximum(before, usual), np.minimum(before, usual))
    with np.errstate(invalid="ignore", divide="ignore"):
        return base, np.clip((now - base) / change, -_FARTHEST, _FARTHEST)


def _comparable(ratio: Floats, z: Floats, lead: int) -> int:
    """The leading role, or where no sibling has it, the role of theirs that moved the most."""
    known = np.asarray(np.isfinite(ratio).any(axis=0))
    return lead if known[lead] or not known.any() else int(np.where(known, np.abs(z), -1).argmax())


def _all_along(ratio: Floats) -> float:
    """The median over the roles that moved, and over siblings, of their share of the change."""
    known = ratio[np.isfinite(ratio)]
    return float(np.median(known)) if len(known) else np.nan


def _busier(present: Floats, base: Floats, floors: Floats, levels: Levels, lead: int) -> Floats:
    """Whether traffic grew, first of the target, then of each sibling: 1, 0, or -1 for unknown."""
    now, before = np.vstack([levels.now, present]), np.vstack([levels.usual, base])
    grown = (now - before) / np.maximum(np.abs(before), np.maximum(floors, 1e-12))
    traffic = [row for row, role in enumerate(levels.roles) if role in TRAFFIC]
    needed = min(max(_LEAST_GROWTH, _SHARE_OF_GROWTH * grown[0, lead]), _ENOUGH_GROWTH)
    known = np.isfinite(grown[:, traffic])
    most = 2 * (known & (grown[:, traffic] >= needed)).sum(axis=1) > known.sum(axis=1)
    return np.where(known.any(axis=1), most.astype(np.float64), -1.0)


def _surging(siblings: Siblings, busier: Floats, *, explains: bool) -> bool | None:
    if siblings.few_moved:
        return False
    target, others = busier[0], busier[1:][busier[1:] >= 0]
    known = target >= 0 and 2 * len(others) >= siblings.compared
    if not explains or not siblings.most_moved or not known:
        return None
    return bool(target > 0 and others.sum() >= _MOST * len(others))
