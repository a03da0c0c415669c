"""The samples behind a condition: how new they are, how often they come, how far back they reach.

A query's own timestamp is the moment it was asked for; `timestamp()` is the sample's.
https://prometheus.io/docs/prometheus/latest/querying/functions/#timestamp
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    MatchOp,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.condition import holds
from receiver.playbooks.promql_measure import PromqlError, parse, selectors

# Samples are counted over this long to measure how often they come.
_MEASURED_S = 300.0
# A rate needs two samples: this many intervals hold them whenever the window begins.
_INTERVALS = 2.5
# Rules are read again after so long; more parts than this are not followed.
_RULES_LAST_S = 300.0
_PARTS_MAX = 30
_TARGETS = frozenset({"instance_id", "instance", "asg"})
# The state of a rule that the server itself evaluates has no scrape.
_STATE = "ALERTS"
_WINDOW = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|\[\s*(\w+)\s*\]""")


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
            window_s = _window_s(parse(expr)) + recorded_s
            evaluated = self._are_evaluated(_alerts(parse(expr)), since)
        except (PromqlError, PrometheusError):
            return _NOTHING
        needs_s = window_s + 2 * interval_s
        if not evaluated or (parts and (newest is None or newest - window_s <= since)):
            return Finding(holds=None, interval_s=interval_s, needs_s=needs_s)
        answer = holds(self.prometheus, expr, now)
        return Finding(holds=answer, interval_s=interval_s, needs_s=needs_s)

    def _are_evaluated(self, alerts: Collection[str], since: float) -> bool:
        """Whether the rules of these alerts were evaluated since then: else `ALERTS` just ends."""
        if not alerts:
            return True
        rules = [rule for rule in self.prometheus.alerting_rules() if rule.name in alerts]
        fresh = all(rule.healthy and rule.evaluated_at > since for rule in rules)
        return fresh and {rule.name for rule in rules} == {*alerts}

    def _sources(self, expr: str, now: float) -> tuple[list[str], float]:
        """The selectors that the condition reads, itself or by records, and the records' window."""
        if now - self._read_at > _RULES_LAST_S:
            # A server without rules has no records of its own.
            with suppress(PrometheusError):
                self._records = self.prometheus.recording_rules()
            self._read_at = now
        parts, window_s = dict[str, None](), 0.0
        left = [(selector, "") for selector in _current(parse(expr))]
        while left and len(parts) < _PARTS_MAX:
            selector, target = left.pop()
            text = _narrowed(selector, target)
            if text in parts:
                continue
            parts[text] = None
            for record in map(parse, self._records.get(selector.name or "", ())):
                window_s = max(window_s, _window_s(record))
                left += [(inner, target or _target_of(selector)) for inner in _current(record)]
        return list(parts), window_s


def widen(expr: str, interval_s: float) -> str:
    """The expression with windows that hold two samples at this interval."""

    def widened(match: re.Match[str]) -> str:
        quoted, window = match.groups()
        least_s = _INTERVALS * interval_s
        if quoted or _window_s(parse(f"x[{window}]")) >= least_s:
            return match[0]
        return f"[{least_s * 1000:.0f}ms]"

    return _WINDOW.sub(widened, expr)


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


def _target_of(selector: VectorSelector) -> str:
    """The matchers that name a target, as text."""
    names = (matcher for matcher in selector.matchers.matchers if matcher.name in _TARGETS)
    equal = (matcher for matcher in names if matcher.op == MatchOp.Equal)
    return ",".join(f"{matcher.name}={json.dumps(matcher.value)}" for matcher in equal)


def _narrowed(selector: VectorSelector, target: str) -> str:
    """The selector as text, of this target only: a record's own expression reads all of them."""
    text = str(selector.prettify())
    if not target:
        return text
    return f"{text[:-1]},{target}}}" if text.endswith("}") else f"{text}{{{target}}}"


def _current(expr: Any) -> Iterator[VectorSelector]:
    """The selectors of present samples; `offset` and `@` look into the past on purpose."""
    match expr:
        case VectorSelector():
            if expr.offset is None and expr.at is None and expr.name != _STATE:
                yield expr
        case MatrixSelector():
            yield from _current(expr.vector_selector)
        case BinaryExpr():
            yield from _current(expr.lhs)
            yield from _current(expr.rhs)
        case Call():
            for argument in expr.args:
                yield from _current(argument)
        case AggregateExpr() | ParenExpr() | SubqueryExpr() | UnaryExpr():
            yield from _current(expr.expr)


def _alerts(expr: Any) -> set[str]:
    """The names of the alerts whose state the expression reads."""
    return {
        matcher.value
        for selector in selectors(expr)
        if selector.name == _STATE
        for matcher in selector.matchers.matchers
        if matcher.name == "alertname" and matcher.op == MatchOp.Equal
    }


def _window_s(expr: Any) -> float:
    """How far back the expression reads from now, in seconds."""
    match expr:
        case MatrixSelector():
            looks_back = any(True for _ in _current(expr))
            return _seconds(expr.range) if looks_back else 0.0
        case SubqueryExpr():
            return _seconds(expr.range) + _window_s(expr.expr)
        case BinaryExpr():
            return max(_window_s(expr.lhs), _window_s(expr.rhs))
        case Call():
            return max((_window_s(argument) for argument in expr.args), default=0.0)
        case AggregateExpr() | ParenExpr() | UnaryExpr():
            return _window_s(expr.expr)
    return 0.0


def _seconds(duration: timedelta | None) -> float:
    return duration.total_seconds() if duration else 0.0
