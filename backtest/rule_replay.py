"""Alert rules evaluated over a past period, as Prometheus evaluates them.

An alert fires once its expression has had a value for `for`, and goes on for `keep_firing_for`
after that: `AlertingRule.Eval` of
https://github.com/prometheus/prometheus/blob/main/rules/alerting.go
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from backtest.incidents import Incident, Period, series_in
from receiver.durations import parse_duration
from receiver.evidence.prometheus.client import Prometheus

# Prometheus' own default.
_INTERVAL_S = 60.0
_LABEL = re.compile(r"{{-?\s*\$labels\.(\w+)\s*-?}}")


class RuleFileError(Exception):
    """The file is no file of alert rules; the message says where."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An alerting rule; durations in seconds."""

    name: str
    expr: str
    for_s: float
    keep_firing_for_s: float
    interval_s: float
    labels: Mapping[str, str] = field(default_factory=dict)


def load_rules(file: Path) -> Sequence[Rule]:
    """The alerting rules of a file. Raises RuleFileError."""
    try:
        groups = YAML(typ="safe", pure=True).load(file.read_text())["groups"]
        rules = [
            _rule(rule, group) for group in groups for rule in group["rules"] if "alert" in rule
        ]
    except (OSError, YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise RuleFileError(f"{file}: not a rule file: {error}") from None
    if not rules:
        raise RuleFileError(f"{file}: it has no alert rule")
    return rules


def replay_rules(
    prometheus: Prometheus,
    rules: Sequence[Rule],
    period: Period,
    asked: Callable[[float], None] = lambda _: None,
) -> Sequence[Incident]:
    """The alerts that the rules would have fired, oldest first. Raises PrometheusError."""
    found: list[Incident] = []
    for rule in rules:
        values: dict[frozenset[tuple[str, str]], set[float]] = {}
        evaluated = _evaluations(period, rule.interval_s)
        grid = Period(since=evaluated[0], until=evaluated[-1])
        for series in series_in(prometheus, rule.expr, grid, rule.interval_s, asked):
            labels = frozenset(_labels(rule, series.labels).items())
            values.setdefault(labels, set()).update(series.times)
        found += [
            Incident(labels=dict(labels), starts_at=start, ended_at=end)
            for labels, present in values.items()
            for start, end in fired(rule, present, evaluated)
        ]
    return sorted(found, key=lambda incident: (incident.starts_at, incident.id))


def fired(
    rule: Rule, present: set[float], evaluated: Sequence[float]
) -> Iterator[tuple[float, float | None]]:
    """From when to when one alert fires, whose expression has a value at the `present` times."""
    active_at = fires_since = keeps_since = None
    for now in evaluated:
        if now in present:
            keeps_since = None
            active_at = now if active_at is None else active_at
            if fires_since is None and now - active_at >= rule.for_s:
                fires_since = now
            continue
        if fires_since is not None:
            keeps_since = now if keeps_since is None else keeps_since
            if now - keeps_since < rule.keep_firing_for_s:
                continue
            yield fires_since, now
        active_at = fires_since = keeps_since = None
    if fires_since is not None:
        yield fires_since, None


def _evaluations(period: Period, interval_s: float) -> Sequence[float]:
    count = int((period.until - period.since) // interval_s)
    return [period.since + number * interval_s for number in range(count + 1)]


def _rule(rule: Mapping[str, Any], group: Mapping[str, Any]) -> Rule:
    return Rule(
        name=str(rule["alert"]),
        expr=str(rule["expr"]),
        for_s=_seconds(rule.get("for", 0)),
        keep_firing_for_s=_seconds(rule.get("keep_firing_for", 0)),
        interval_s=_seconds(group.get("interval", _INTERVAL_S)),
        labels={str(name): str(text) for name, text in (rule.get("labels") or {}).items()},
    )


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else parse_duration(str(value))


def _labels(rule: Rule, series: Mapping[str, str]) -> Mapping[str, str]:
    """The labels of the alert; of templates, those of the series' own labels are filled in."""
    own = {name: text for name, text in series.items() if name != "__name__"}
    told = {
        name: _LABEL.sub(lambda match: own.get(match.group(1), ""), text)
        for name, text in rule.labels.items()
    }
    return {**own, **told, "alertname": rule.name}
