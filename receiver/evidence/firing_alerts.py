"""The alerts that Prometheus itself fires, which a sender of deliveries cannot forge."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.expressions import one_of
from receiver.evidence.targets.mapping import TargetMapping

# An alert's name and target: an instance's id, or a group's name.
FiringAlert = tuple[str, str]
_NAME = "alertname"
_Labels = Mapping[str, str]
# Labels of the series itself.
_OF_STATE = frozenset({"__name__", "alertstate"})
_LENGTH_MAX = 255


@dataclass(frozen=True, kw_only=True)
class ReportedAlert:
    """The labels of a reported alert, and the target that was found for it."""

    labels: _Labels
    target: str

    @property
    def key(self) -> FiringAlert:
        return self.labels.get(_NAME, ""), self.target


def read_firing(
    prometheus: Prometheus, alerts: Collection[ReportedAlert], mapping: TargetMapping, at: float
) -> frozenset[FiringAlert] | None:
    """Those of the alerts that Prometheus fires; None where it has no answer.

    A series of `ALERTS` is an alert if it names the same target, and no label contradicts: of some,
    only one of both may have it, as `external_labels` and relabelling change what is sent.
    Source of `ALERTS`: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules
    """
    by_label = defaultdict[str, list[ReportedAlert]](list)
    for alert in alerts:
        label = next(iter(mapping.naming(alert.labels)), None)
        if label and all(map(_is_a_name, (alert.labels[label], alert.key[0]))):
            by_label[label].append(alert)
    parts = [_selector(label, named) for label, named in by_label.items()]
    if not parts:
        return frozenset()
    try:
        samples = prometheus.instant_query(" or ".join(parts), at=at)
    except PrometheusError:
        return None
    series = [sample.labels for sample in samples]
    return frozenset(
        alert.key
        for label, named in by_label.items()
        for alert in _firing(label, named, series, mapping)
    )


def _selector(label: str, alerts: Collection[ReportedAlert]) -> str:
    """The firing alerts of these names that have one of the values in the label, or lack it."""
    names = one_of(alert.labels.get(_NAME, "") for alert in alerts)
    values = one_of(["", *(alert.labels[label] for alert in alerts)])
    return f'ALERTS{{alertstate="firing",{_NAME}=~"{names}",{label}=~"{values}"}}'


def _firing(
    label: str,
    alerts: Collection[ReportedAlert],
    series: Collection[_Labels],
    mapping: TargetMapping,
) -> Iterator[ReportedAlert]:
    by_value = defaultdict[tuple[str, str], list[_Labels]](list)
    for labels in series:
        by_value[labels.get(_NAME, ""), labels.get(label, "")].append(labels)
    for alert in alerts:
        name = alert.labels.get(_NAME, "")
        candidates = by_value[name, alert.labels[label]] + by_value[name, ""]
        if any(_is_same(alert.labels, labels, mapping) for labels in candidates):
            yield alert


def _is_same(alert: _Labels, series: _Labels, mapping: TargetMapping) -> bool:
    of_alert, of_series = mapping.naming(alert), mapping.naming(series)
    # A group's own alert names no instance.
    both = mapping.names_instance(alert) == mapping.names_instance(series)
    own = {name: text for name, text in series.items() if name not in _OF_STATE}
    agree = all(alert.get(name, text) in (text, "") for name, text in own.items())
    return both and agree and not of_alert.keys().isdisjoint(of_series)


def _is_a_name(text: str) -> bool:
    """Whether the text may stand in a query: one that breaks it would hide all other alerts."""
    return text.isprintable() and len(text) <= _LENGTH_MAX
