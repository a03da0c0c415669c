"""The alerts that fired in a period, as Prometheus recorded them in `ALERTS`.

`ALERTS` has the value 1 while an alert is pending or firing:
https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from receiver.evidence.prometheus.answers import LabelledSeries, PrometheusError
from receiver.evidence.prometheus.client import Prometheus

FIRING = 'ALERTS{alertstate="firing"}'
# Seconds between two looks at a series. A gap of more than two is the end of an alert.
STEP_S = 15.0
# Prometheus answers at most 11,000 points of a series; a busy period is asked for in halves.
_CHUNK_S, _SHORTEST_S = 21_600.0, 300.0
_OF_STATE = frozenset({"__name__", "alertstate"})


@dataclass(frozen=True, kw_only=True)
class Incident:
    """An alert from when it fired to when it ended, in epoch seconds.

    `ended_at` is None if it still fires at the end of the period.
    """

    labels: Mapping[str, str]
    starts_at: float
    ended_at: float | None

    @property
    def id(self) -> str:
        """The same in each backtest: by labels and time."""
        text = json.dumps([sorted(self.labels.items()), self.starts_at])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    def fires(self, at: float) -> bool:
        return self.starts_at <= at and (self.ended_at is None or at < self.ended_at)


@dataclass(frozen=True, kw_only=True)
class Period:
    """From `since` to `until`, in epoch seconds."""

    since: float
    until: float


def read_incidents(
    prometheus: Prometheus, period: Period, asked: Callable[[float], None] = lambda _: None
) -> Sequence[Incident]:
    """The alerts that fired, oldest first; `asked` gets the time up to which is known.

    Raises PrometheusError.
    """
    times: dict[frozenset[tuple[str, str]], list[float]] = {}
    for series in series_in(prometheus, FIRING, period, STEP_S, asked):
        labels = frozenset((k, v) for k, v in series.labels.items() if k not in _OF_STATE)
        times.setdefault(labels, []).extend(series.times)
    found = [
        Incident(labels=dict(labels), starts_at=start, ended_at=end)
        for labels, moments in times.items()
        for start, end in _spans(moments, 2 * STEP_S, period.until)
        # One that fired before has a beginning that is not known.
        if start > period.since
    ]
    return sorted(found, key=lambda incident: (incident.starts_at, incident.id))


def series_in(
    prometheus: Prometheus,
    expr: str,
    period: Period,
    step: float,
    asked: Callable[[float], None] = lambda _: None,
) -> Iterator[LabelledSeries]:
    """The series of an expression, part by part. Raises PrometheusError."""
    start, chunk = period.since, _CHUNK_S
    while start <= period.until:
        end = min(start + chunk - step, period.until)
        try:
            yield from prometheus.range_query(expr, start=start, end=end, step=step)
        except PrometheusError:
            if chunk <= _SHORTEST_S:
                raise
            chunk /= 2
            continue
        asked(end)
        start = end + step


def _spans(
    times: Iterable[float], gap_s: float, until: float
) -> Iterator[tuple[float, float | None]]:
    """From the first to the last moment of each unbroken span; None where it is not over."""
    start = last = None
    for time in sorted(times):
        if start is None or last is None:
            start = time
        elif time - last > gap_s:
            yield start, last + STEP_S
            start = time
        last = time
    if start is not None and last is not None:
        yield start, None if until - last <= gap_s else last + STEP_S
