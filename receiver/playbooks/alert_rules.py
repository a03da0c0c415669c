"""Prometheus' alert and recording rules, read from a folder of rule files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from receiver.playbooks.loader import Finding
from receiver.playbooks.promql.measure import (
    MeasureReader,
    PromqlError,
    Scope,
    metric_names,
    parse,
)

# The alerts that the service itself sends, without a rule: what EC2 says of a host.
SYSTEM_CHECK, SCHEDULED_EVENT = "EC2SystemCheckFailed", "EC2ScheduledEvent"
OWN_ALERTS = frozenset({SYSTEM_CHECK, SCHEDULED_EVENT})


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """An alerting rule; `labels` are those that the rule sets, `expr` is parsed."""

    name: str
    labels: Mapping[str, str]
    expr: Any


@dataclass(frozen=True, kw_only=True)
class AlertRules:
    """The rules of a folder; `records` are recorded expressions by name, `findings` the errors."""

    alerts: Sequence[AlertRule]
    records: Mapping[str, Any]
    findings: Sequence[Finding]

    def scopes(self) -> Mapping[str, Scope]:
        """The scope of each record. Records of records are resolved in the order of the files."""
        scopes: dict[str, Scope] = {}
        for name, expr in self.records.items():
            scopes[name] = MeasureReader(records=scopes, of_rule=True).scope(expr)
        return scopes

    def metrics_behind(self, expr: Any) -> set[str]:
        """Metrics that an expression reads, directly or through records."""
        names = metric_names(expr)
        for _ in self.records:
            more = {
                name
                for record in names & self.records.keys()
                for name in metric_names(self.records[record])
            }
            if more <= names:
                break
            names |= more
        return names


def load_rules(folder: Path) -> AlertRules:
    """Load all `*.yml` and `*.yaml` files of the folder."""
    alerts: list[AlertRule] = []
    records: dict[str, Any] = {}
    findings: list[Finding] = []
    files = sorted((*folder.glob("*.yml"), *folder.glob("*.yaml")))
    if not files:
        message = "no rule file (*.yml); name the folder of Prometheus' rules"
        findings.append(Finding(file=folder, line=1, message=message))
    for file in files:
        try:
            for line, rule in _rules(file):
                try:
                    expr = parse(str(rule.get("expr", "")))
                except PromqlError as error:
                    findings.append(Finding(file=file, line=line, message=f"expr: {error}"))
                    continue
                if "record" in rule:
                    records[str(rule["record"])] = expr
                else:
                    labels = {str(name): str(value) for name, value in rule["labels"].items()}
                    alerts.append(AlertRule(name=str(rule["alert"]), labels=labels, expr=expr))
        except (OSError, YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"not a rule file: {type(error).__name__}"
            findings.append(Finding(file=file, line=1, message=message))
    return AlertRules(alerts=alerts, records=records, findings=findings)


def _rules(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each rule of a file, with its line."""
    for group in YAML(typ="rt").load(file.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule.lc.line + 1, {"labels": {}, **rule}
