"""Whether the group's other members moved too, and whether they carry more traffic.

Siblings have half an hour of past here. What began before that is in it already, so the target's
own usual level stands in for theirs where it is the lower one: members of a group are alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.features.evidence import Series
from models.features.residuals import STALE_S, Residual, samples_until

TRAFFIC = ("net_rx_bytes", "net_tx_bytes", "tcp_established")
_BEFORE_S = 180.0
_ENOUGH_SAMPLES = 10
# Moved the same way: by at least half of the target's own change.
_SHARE_OF_RISE = 0.5
# In proportion: CPU has a floor that traffic has not, and saturates where traffic does not.
_SHARE_OF_GROWTH = 0.3
_LEAST_GROWTH = 0.3
# Load grows without bound once CPU is saturated; traffic need not follow it that far.
_ENOUGH_GROWTH = 0.6


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """`compared` could be judged out of `seen`; `moved` as the target did; `busier` in traffic.

    `traffic_known` counts those whose traffic can be told; `target_busier` says whether the
    target's own traffic grew in proportion to what moved, None is unknown.
    """

    seen: int
    compared: int
    moved: int
    traffic_known: int
    busier: int
    target_busier: bool | None


def compare(
    peers: Mapping[str, Mapping[str, Series]],
    known: Mapping[str, Residual],
    led_by: Residual,
    at: float,
) -> Siblings:
    moved = [_moved(series, led_by, at) for series in peers.values()]
    busier = [_busier(series, known, led_by, at) for series in peers.values()]
    return Siblings(
        seen=len(peers),
        compared=sum(one is not None for one in moved),
        moved=sum(one is True for one in moved),
        traffic_known=sum(one is not None for one in busier),
        busier=sum(one is True for one in busier),
        target_busier=_most([known[role].growth for role in TRAFFIC if role in known], led_by),
    )


def _moved(series: Mapping[str, Series], led_by: Residual, at: float) -> bool | None:
    level = _level(series.get(led_by.role.name), at)
    if level is None:
        return None
    now, before = level
    rise = led_by.now - led_by.usual
    return now - min(before, led_by.usual) >= _SHARE_OF_RISE * rise


def _busier(
    series: Mapping[str, Series], known: Mapping[str, Residual], led_by: Residual, at: float
) -> bool | None:
    grown: list[float] = []
    for role in TRAFFIC:
        level = _level(series.get(role), at)
        if level is None or role not in known:
            continue
        now, before = level
        base = min(before, known[role].usual)
        grown.append((now - base) / max(abs(base), known[role].role.noise))
    return _most(grown, led_by)


def _most(grown: list[float], led_by: Residual) -> bool | None:
    if not grown:
        return None
    needed = min(max(_LEAST_GROWTH, _SHARE_OF_GROWTH * led_by.growth), _ENOUGH_GROWTH)
    return 2 * sum(one >= needed for one in grown) > len(grown)


def _level(series: Series | None, at: float) -> tuple[float, float] | None:
    """A sibling's present and its median before; None where either is not known."""
    times, values = samples_until(series or Series(), at)
    older = values[times < at - _BEFORE_S]
    if not len(times) or times[-1] < at - STALE_S or len(older) < _ENOUGH_SAMPLES:
        return None
    return float(values[-1]), float(np.median(older))
