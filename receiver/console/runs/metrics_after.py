"""The metrics of a run's target after the decision, queried while the run page is open."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus

# A plot ends ten minutes after the end of the run, and at most an hour after the decision.
_AFTER_END_S, _AFTER_DECISION_MOST_S = 600.0, 3_600.0
_POINTS, _STEP_LEAST_S = 90, 5.0
_TIMEOUT_S = 2.0


def plot_end(run: Mapping[str, Any], now: float) -> float:
    """The end of a run's plots in epoch seconds."""
    decided_at = float(run["evidence"]["at"])
    ended_at = run["ended_at"]
    end = now if ended_at is None else datetime.fromisoformat(ended_at).timestamp() + _AFTER_END_S
    return max(decided_at, min(now, end, decided_at + _AFTER_DECISION_MOST_S))


def metrics_after(
    prometheus: Prometheus, run: Mapping[str, Any], end: float
) -> Mapping[str, list[list[float]]] | None:
    """Pairs of seconds after the decision and value, by role; None if Prometheus did not answer."""
    decided_at = float(run["evidence"]["at"])
    if not run["evidence"].get("query"):
        return {}
    try:
        answer = prometheus.of(run["alert"]["labels"]).range_query(
            run["evidence"]["query"],
            start=decided_at,
            end=end,
            step=max(_STEP_LEAST_S, round((end - decided_at) / _POINTS)),
            timeout_s=_TIMEOUT_S,
        )
    except PrometheusError:
        return None
    return {
        series.labels.get("role", ""): [
            [round(time - decided_at), value]
            for time, value in zip(series.times, series.values, strict=True)
        ]
        for series in answer
    }
