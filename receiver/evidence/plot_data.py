"""Down-samples evidence for a run's plots to a few kilobytes.

Times are whole seconds before or after the moment of the decision, and values have four digits.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from models.features.evidence import Evidence, Series
from models.features.signals import ROLES
from models.inference.verdict import Verdict
from receiver.runtime.rfc3339 import DAY_S

_ROLES_MAX, _PEERS_MAX = 3, 12
_SINCE_S, _UNTIL_S = 1_800.0, 1_800.0
_POINTS_MAX, _PEER_POINTS_MAX = 90, 31
# Each point of the usual band is made of values within 15 minutes; points are 5 minutes apart.
_SLOT_S, _AROUND_S = 300, 900.0
# Left out of the usual band: the last two hours may show the incident itself.
_RECENT_S = 7_200.0
# Fewer values give no meaningful quantiles.
_VALUES_MIN = 6


def plot_series(
    evidence: Evidence, verdict: Verdict | None, roles: Collection[str]
) -> list[dict[str, Any]]:
    """A plot's series for each metric of the verdict's reasons, then of the alert's `roles`.

    `own` is `[[seconds, value], ...]`; `siblings` has one such list for each peer. `usual` is
    `[[seconds, low, middle, high], ...]`: the 10th, 50th and 90th percentile of the values at this
    time of day on earlier days.
    """
    reasons = [reason.role for reason in verdict.contributions] if verdict else []
    recent = evidence.recent or {}
    by_importance = [*(role for role in reasons if role in roles), *reasons, *sorted(roles)]
    drawable = [
        role
        for role in dict.fromkeys(by_importance)
        if role in ROLES and role in recent and recent[role].times
    ]
    return [_series_of_role(evidence, role, recent[role]) for role in drawable[:_ROLES_MAX]]


def _series_of_role(evidence: Evidence, role: str, own: Series) -> dict[str, Any]:
    at = evidence.at
    members = sorted((evidence.peers or {}).items())
    peers = [series[role] for _, series in members if role in series]
    history = (evidence.history or {}).get(role, Series())
    return {
        "role": role,
        "own": _thinned(own, at, _POINTS_MAX),
        "siblings": [_thinned(peer, at, _PEER_POINTS_MAX) for peer in peers[:_PEERS_MAX]],
        "usual": list(_usual(history, at)),
    }


def _thinned(series: Series, at: float, most: int) -> list[list[float]]:
    """About `most` points, evenly spaced, with the newest."""
    points = [
        [round(time - at), _short(value)]
        for time, value in zip(series.times, series.values, strict=True)
        if time >= at - _SINCE_S
    ]
    every = -(-len(points) // most) or 1
    return points[::-1][::every][::-1]


def _usual(history: Series, at: float) -> Iterator[list[float]]:
    """Quantiles for each slot, of the values near this time of day on the days before."""
    near = [
        (offset, value)
        for time, value in zip(history.times, history.values, strict=True)
        if time < at - _RECENT_S
        and abs(offset := (time - at + DAY_S / 2) % DAY_S - DAY_S / 2) < _SINCE_S + _AROUND_S
    ]
    for slot in range(-int(_SINCE_S), int(_UNTIL_S) + 1, _SLOT_S):
        values = sorted(value for offset, value in near if abs(offset - slot) <= _AROUND_S)
        if len(values) >= _VALUES_MIN:
            yield [slot, *(_short(_quantile(values, share)) for share in (0.1, 0.5, 0.9))]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
