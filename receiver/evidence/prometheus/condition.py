"""PromQL conditions: true, false or unknown."""

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus


def holds(prometheus: Prometheus, expr: str, at: float) -> bool | None:
    """Whether a condition is true at a moment; None is unknown: no data, no answer, not a number.

    Every sample must be non-zero. Write conditions with `bool` (`x < bool 0.85`). A filter (`x <
    0.85`) that is false returns no data, which is unknown here. It also drops the members of a
    group that fail it, and a value of 0 passes through as 0, which counts as false.
    """
    try:
        samples = prometheus.instant_query(expr, at=at)
    except PrometheusError:
        return None
    return all(sample.value != 0 for sample in samples) if samples else None
