"""What of the evidence is kept to be drawn: few metrics, few points, whatever there was.

Times are whole seconds before or after the moment of the decision, values have four digits: a
sketch is some kilobytes.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from models.features.evidence import Evidence, Series
from models.features.signals import ROLES
from models.inference.verdict import Verdict
from receiver.runtime.rfc3339 import DAY_S

_ROLES_MOST, _SIBLINGS_MOST = 3, 12
_SINCE_S, _UNTIL_S = 1_800.0, 1_800.0
_POINTS_MOST, _SIBLING_POINTS_MOST = 90, 31
_SLOT_S, _AROUND_S = 300, 900.0
# The incident itself is nothing usual.
_RECENT_S = 7_200.0
_ENOUGH = 6


def sketches(
    evidence: Evidence, verdict: Verdict | None, roles: Collection[str]
) -> list[dict[str, Any]]:
    """One a metric that the verdict speaks of, or that the alert is about.

    `own` is `[[seconds, value], ...]`, `siblings` a list of such, and `usual` `[[seconds, low,
    middle, high], ...]`: the tenth, the half and the nine tenths of the values at this time of
    day, of the days before.
    """
    said = [one.role for one in verdict.contributions] if verdict else []
    recent = evidence.recent or {}
    wanted = dict.fromkeys([*(one for one in said if one in roles), *said, *sorted(roles)])
    found = [one for one in wanted if one in ROLES and one in recent and recent[one].times]
    return [_sketch(evidence, role, recent[role]) for role in found[:_ROLES_MOST]]


def _sketch(evidence: Evidence, role: str, own: Series) -> dict[str, Any]:
    at = evidence.at
    peers = [one[role] for _, one in sorted((evidence.peers or {}).items()) if role in one]
    history = (evidence.history or {}).get(role, Series())
    return {
        "role": role,
        "own": _thinned(own, at, _POINTS_MOST),
        "siblings": [_thinned(one, at, _SIBLING_POINTS_MOST) for one in peers[:_SIBLINGS_MOST]],
        "usual": list(_usual(history, at)),
    }


def _thinned(series: Series, at: float, most: int) -> list[list[float]]:
    """At most `most` points and one, the newest among them."""
    points = [
        [round(time - at), _short(value)]
        for time, value in zip(series.times, series.values, strict=True)
        if time >= at - _SINCE_S
    ]
    every = -(-len(points) // most) or 1
    return points[::-1][::every][::-1]


def _usual(history: Series, at: float) -> Iterator[list[float]]:
    """Every five minutes, of what was within a quarter of an hour of it on other days."""
    near = [
        (offset, value)
        for time, value in zip(history.times, history.values, strict=True)
        if time < at - _RECENT_S
        and abs(offset := (time - at + DAY_S / 2) % DAY_S - DAY_S / 2) < _SINCE_S + _AROUND_S
    ]
    for slot in range(-int(_SINCE_S), int(_UNTIL_S) + 1, _SLOT_S):
        values = sorted(value for offset, value in near if abs(offset - slot) <= _AROUND_S)
        if len(values) >= _ENOUGH:
            yield [slot, *(_short(_quantile(values, share)) for share in (0.1, 0.5, 0.9))]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
