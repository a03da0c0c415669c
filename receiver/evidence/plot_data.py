"""Down-samples evidence for a run's plots to a few kilobytes.

Times are whole seconds before or after the moment of the decision, and values have four digits.
"""

from bisect import bisect_left
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


def thin(series: Series, since: float, most: int) -> list[tuple[float, float]]:
    """At most `most` points since a time, evenly spaced, with the newest."""
    start = bisect_left(series.times, since)
    every = max(1, -(-(len(series.times) - start) // most))
    times, values = series.times[start:][::-1], series.values[start:][::-1]
    return [*zip(times[::every], values[::every], strict=True)][::-1]


def _thinned(series: Series, at: float, most: int) -> list[list[float]]:
    points = thin(series, at - _SINCE_S, most)
    return [[round(time - at), shorten(value)] for time, value in points]


def _usual(history: Series, at: float) -> Iterator[list[float]]:
    """Quantiles for each slot, of the values near this time of day on the days before.

    Of this day nothing is used: it may show the incident itself.
    """
    around, near = _SINCE_S + _AROUND_S, list[tuple[float, float]]()
    days = round((at - history.times[0]) / DAY_S) if history.times else 0
    for same in (at - day * DAY_S for day in range(days, 0, -1)):
        start, end = (bisect_left(history.times, same + edge) for edge in (-around, around))
        near += [
            (time - same, value)
            for time, value in zip(history.times[start:end], history.values[start:end], strict=True)
        ]
    for slot in range(-int(_SINCE_S), int(_UNTIL_S) + 1, _SLOT_S):
        values = sorted(value for offset, value in near if abs(offset - slot) <= _AROUND_S)
        if len(values) >= _VALUES_MIN:
            yield [slot, *(shorten(_quantile(values, share)) for share in (0.1, 0.5, 0.9))]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def shorten(value: float) -> float:
    """The value with four digits."""
    return float(f"{value:.4g}")
