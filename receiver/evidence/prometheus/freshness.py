"""The samples behind a condition: how new they are, how often they come, how far back they reach.

A query's own timestamp is the moment it was asked for; `timestamp()` is the sample's.
https://prometheus.io/docs/prometheus/latest/querying/functions/#timestamp
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.condition import holds
from receiver.evidence.prometheus.expressions import (
    alerts,
    current,
    narrowed,
    target_of,
    widen,
    window_s,
)
from receiver.playbooks.promql.measure import PromqlError, parse

# Samples are counted over this long to measure how often they come.
_MEASURED_S = 300.0
# Rules are read again after so long; more parts than this are not followed.
_RULES_LAST_S = 300.0
_PARTS_MAX = 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether a condition holds by samples that are all newer than a moment; None is unknown.

    `interval_s` is the time between two samples, if they were found; `needs_s` is how long after
    that moment such samples may be waited for.
    """

    holds: bool | None
    interval_s: float
    needs_s: float


_NOTHING = Finding(holds=None, interval_s=0.0, needs_s=0.0)


# Samples are no older than this where a target is scraped often; younger ones are not doubted.
_YOUNG_S = 15.0


@dataclass
class ConditionReader:
    """Reads conditions; the recording rules are read again after a while."""

    prometheus: Prometheus
    _records: Mapping[str, Sequence[str]] = field(default_factory=dict, init=False)
    _read_at: float = field(default=-math.inf, init=False)

    def find_since(self, expr: str, since: float, now: float) -> Finding:
        """Whether the condition holds `now`, by samples newer than `since` (epoch seconds).

        Windows that are too short for the measured interval become longer. Of series without
        samples nothing is demanded: where a condition needs them, it has no value itself.
        """
        try:
            parts, recorded_s = self._sources(expr, now)
            newest, interval_s = _measure(self.prometheus, parts, now)
            expr = widen(expr, interval_s)
            reads_s = window_s(parse(expr), interval_s) + recorded_s
            evaluated, kept_s = self._evaluation(alerts(parse(expr)), since)
        except (PromqlError, PrometheusError):
            return _NOTHING
        needs_s = reads_s + 2 * interval_s + kept_s
        if not evaluated or (parts and (newest is None or newest - reads_s <= since)):
            return Finding(holds=None, interval_s=interval_s, needs_s=needs_s)
        answer = holds(self.prometheus, expr, now)
        if answer is False and now <= since + needs_s and kept_s:
            # It may fire on by `keep_firing_for` alone.
            answer = None
        return Finding(holds=answer, interval_s=interval_s, needs_s=needs_s)

    def _evaluation(self, names: Collection[str], since: float) -> tuple[bool, float]:
        """Whether the rules of these alerts were evaluated since then: else `ALERTS` just ends.

        And for how many seconds they keep an alert firing that is over.
        https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules
        """
        if not names:
            return True, 0.0
        rules = [rule for rule in self.prometheus.alerting_rules() if rule.name in names]
        fresh = all(rule.healthy and rule.evaluated_at > since for rule in rules)
        complete = {rule.name for rule in rules} == {*names}
        return fresh and complete, max((rule.kept_s for rule in rules), default=0.0)

    def widened(self, expr: str, now: float) -> str | None:
        """The expression with windows of two samples; None if they are, or nothing tells."""
        try:
            _, interval_s = _measure(self.prometheus, self._sources(expr, now)[0], now)
            wider = widen(expr, interval_s)
        except (PromqlError, PrometheusError):
            return None
        return None if wider == expr else wider

    def why_too_old(self, expr: str, since: float, now: float) -> str | None:
        """Why the expression says nothing of `since` (epoch seconds) and later, if so."""
        try:
            newest, interval_s = _measure(self.prometheus, self._sources(expr, now)[0], now)
        except (PromqlError, PrometheusError):
            return None
        if newest is None or now - newest <= _YOUNG_S or newest - interval_s >= since:
            return None
        told = f"the newest sample is {now - newest:.0f} s old, one comes every {interval_s:.0f} s"
        return f"{told}, and the alert began {now - since:.0f} s ago: cannot tell yet"

    def _sources(self, expr: str, now: float) -> tuple[list[str], float]:
        """The selectors that the condition reads, itself or by records, and the records' window."""
        if now - self._read_at > _RULES_LAST_S:
            # A server without rules has no records of its own.
            with suppress(PrometheusError):
                self._records = self.prometheus.recording_rules()
            self._read_at = now
        parts, reads_s = dict[str, None](), 0.0
        left = [(selector, "") for selector in current(parse(expr))]
        while left and len(parts) < _PARTS_MAX:
            selector, target = left.pop()
            text = narrowed(selector, target)
            if text in parts:
                continue
            parts[text] = None
            for record in map(parse, self._records.get(selector.name or "", ())):
                reads_s = max(reads_s, window_s(record))
                left += [(inner, target or target_of(selector)) for inner in current(record)]
        return list(parts), reads_s


@dataclass(frozen=True)
class ConditionReaders:
    """The reader of each Prometheus, by the alerts that it knows."""

    prometheus: Prometheus
    _readers: dict[str, ConditionReader] = field(default_factory=dict, init=False)

    def of(self, labels: Mapping[str, str]) -> ConditionReader:
        """The reader of the Prometheus that knows the alert with these labels."""
        prometheus = self.prometheus.of(labels)
        return self._readers.setdefault(prometheus.url, ConditionReader(prometheus))


def _measure(prometheus: Prometheus, parts: list[str], now: float) -> tuple[float | None, float]:
    """The newest sample of the series that lags most, and the longest interval, in seconds."""
    queries = [
        f'label_replace({query}, "{kind}", "{number}", "", "")'
        for number, part in enumerate(parts)
        for kind, query in (
            ("newest", f"min(timestamp({part}))"),
            ("count", f"max(count_over_time({part}[{_MEASURED_S:.0f}s]))"),
        )
    ]
    if not queries:
        return None, 0.0
    samples = prometheus.instant_query(" or ".join(queries), at=now)
    newest = [sample.value for sample in samples if "newest" in sample.labels]
    counts = [sample.value for sample in samples if "count" in sample.labels]
    # A single sample tells nothing of the next one.
    intervals = [_MEASURED_S / count for count in counts if count > 1]
    return min(newest, default=None), max(intervals, default=0.0)
