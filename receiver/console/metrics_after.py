"""How the metrics of a run went on after it was decided, asked when somebody looks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from models.features.signals import LATEST, ROLES, of_instance, query, while_scraped
from receiver.evidence.prometheus import Prometheus, PrometheusError

_SHOWN_AFTER_S, _SHOWN_MOST_S = 600.0, 3_600.0
_POINTS, _STEP_LEAST_S = 90, 5.0
_TIMEOUT_S = 2.0


def until(run: Mapping[str, Any], now: float) -> float:
    """Up to when a run's plots go, in epoch seconds: ten minutes past its end, an hour at most."""
    at = float(run["evidence"]["at"])
    ended = run["ended_at"]
    last = now if ended is None else datetime.fromisoformat(ended).timestamp() + _SHOWN_AFTER_S
    return max(at, min(now, last, at + _SHOWN_MOST_S))


def aftermath(
    prometheus: Prometheus, target: str, roles: Sequence[str], at: float, end: float
) -> Mapping[str, list[list[float]]] | None:
    """`[[seconds after at, value], ...]` by role; None is not known."""
    try:
        of = of_instance(target)
        found = prometheus.range_query(
            while_scraped(query(of, LATEST, [ROLES[role] for role in roles]), of),
            start=at,
            end=end,
            step=max(_STEP_LEAST_S, round((end - at) / _POINTS)),
            timeout_s=_TIMEOUT_S,
        )
    except (PrometheusError, ValueError):
        return None
    return {
        series.labels.get("role", ""): [
            [round(time - at), value]
            for time, value in zip(series.times, series.values, strict=True)
        ]
        for series in found
    }
