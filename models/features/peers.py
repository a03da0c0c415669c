"""Counts the group's other members that moved too, and those that carry more traffic.

The past of siblings is half an hour here, and a change that began earlier fills it. Their usual
level is therefore the target's, where that is farther from the present: members are alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.features.evidence import Series
from models.features.residuals import STALE_S, Residual, samples_until

TRAFFIC = ("net_rx_bytes", "net_tx_bytes", "tcp_established")
_BEFORE_S = 180.0
_ENOUGH_SAMPLES = 10
# The share of the target's change by which a sibling must change to have moved the same way.
_SHARE_OF_RISE = 0.5
# From this ratio of traffic growth to CPU growth on, load explains CPU. It is below 1, because idle
# CPU is not zero and CPU saturates.
_SHARE_OF_GROWTH = 0.3
_LEAST_GROWTH = 0.3
# Load grows without bound once CPU is saturated; traffic need not grow as far.
_ENOUGH_GROWTH = 0.6


@dataclass(frozen=True, kw_only=True)
class PeerComparison:
    """Counts of siblings: `compared` out of `seen`, `moved` as the target did, `busier` in traffic.

    `traffic_known` counts siblings whose traffic is known. `target_busier` says whether the
    target's own traffic grew in proportion to the leading role; None is unknown.
    """

    seen: int
    compared: int
    moved: int
    traffic_known: int
    busier: int
    target_busier: bool | None


def compare_peers(
    peers: Mapping[str, Mapping[str, Series]],
    residuals: Mapping[str, Residual],
    lead: Residual,
    at: float,
) -> PeerComparison:
    moved = [_moved(series, lead, at) for series in peers.values()]
    busier = [_busier(series, residuals, lead, at) for series in peers.values()]
    return PeerComparison(
        seen=len(peers),
        compared=sum(answer is not None for answer in moved),
        moved=sum(answer is True for answer in moved),
        traffic_known=sum(answer is not None for answer in busier),
        busier=sum(answer is True for answer in busier),
        target_busier=_most(
            [residuals[role].growth for role in TRAFFIC if role in residuals], lead
        ),
    )


def _moved(series: Mapping[str, Series], lead: Residual, at: float) -> bool | None:
    level = _level(series.get(lead.role.name), at)
    if level is None:
        return None
    now, before = level
    change = lead.now - lead.usual
    if change < 0:
        return now - max(before, lead.usual) <= _SHARE_OF_RISE * change
    return now - min(before, lead.usual) >= _SHARE_OF_RISE * change


def _busier(
    series: Mapping[str, Series], residuals: Mapping[str, Residual], lead: Residual, at: float
) -> bool | None:
    grown: list[float] = []
    for role in TRAFFIC:
        level = _level(series.get(role), at)
        if level is None or role not in residuals:
            continue
        now, before = level
        base = min(before, residuals[role].usual)
        grown.append((now - base) / max(abs(base), residuals[role].role.noise))
    return _most(grown, lead)


def _most(grown: list[float], lead: Residual) -> bool | None:
    if not grown:
        return None
    needed = min(max(_LEAST_GROWTH, _SHARE_OF_GROWTH * lead.growth), _ENOUGH_GROWTH)
    return 2 * sum(growth >= needed for growth in grown) > len(grown)


def _level(series: Series | None, at: float) -> tuple[float, float] | None:
    """A sibling's present and its earlier median; None if one of them is unknown."""
    times, values = samples_until(series or Series(), at)
    older = values[times < at - _BEFORE_S]
    if not len(times) or times[-1] < at - STALE_S or len(older) < _ENOUGH_SAMPLES:
        return None
    return float(values[-1]), float(np.median(older))
