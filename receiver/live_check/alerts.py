"""Which playbook and target each alert would find: those that fire, and those that rules name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from receiver.evidence.prometheus.answers import AlertingRule, PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.targets.resolver import TargetResolver
from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook

_FIRING = 'ALERTS{alertstate="firing"}'
# Labels of Prometheus' own series, which no alert has.
_OF_SERIES = frozenset({"__name__", "alertstate"})


@dataclass(frozen=True, kw_only=True)
class FoundAlert:
    """An alert that fires; `doubt` says why it has no target, `playbooks` are names."""

    labels: Mapping[str, str]
    playbooks: Sequence[str]
    target: str | None
    doubt: str
    receivers: frozenset[str] | None

    def __str__(self) -> str:
        name = self.labels.get("alertname", "(no alertname)")
        playbook = " and ".join(self.playbooks) or "no playbook"
        return f"fires: {name}  {playbook}  {self.target or f'no target: {self.doubt}'}"


def read_firing_labels(
    prometheus: Prometheus, alertmanager: Alertmanager, at: float
) -> tuple[Mapping[frozenset[tuple[str, str]], frozenset[str] | None], Sequence[str]]:
    """The labels of all alerts that fire, with their receivers where Alertmanager tells them.

    And a line for each server that does not answer.
    """
    firing: dict[frozenset[tuple[str, str]], frozenset[str] | None] = {}
    problems: list[str] = []
    try:
        for sample in (s for one in prometheus.each for s in one.instant_query(_FIRING, at=at)):
            labels = {name: v for name, v in sample.labels.items() if name not in _OF_SERIES}
            firing[frozenset(labels.items())] = None
    except PrometheusError as error:
        problems.append(str(error))
    try:
        for alert in alertmanager.active_alerts():
            texts = {name: str(value) for name, value in alert["labels"].items() if value}
            names = {str(one.get("name")) for one in alert.get("receivers") or ()}
            firing[frozenset(texts.items())] = frozenset(names)
    except AlertmanagerError as error:
        problems.append(str(error))
    return firing, problems


def find_targets(
    firing: Mapping[frozenset[tuple[str, str]], frozenset[str] | None],
    playbooks: Playbooks,
    targets: TargetResolver,
) -> Iterator[FoundAlert]:
    for labels, receivers in sorted(firing.items(), key=lambda item: sorted(item[0])):
        named = dict(labels)
        matching = playbooks.matching(named)
        target = targets.resolve(named, ask=bool(matching))
        doubt = target.doubt or (
            f"AWS did not answer {target.unread}" if target.unread else "the labels name none"
        )
        yield FoundAlert(
            labels=named,
            playbooks=[playbook.name for playbook in matching],
            target=target.id,
            doubt=doubt,
            receivers=receivers,
        )


def playbooks_of_rule(rule: AlertingRule, playbooks: Playbooks) -> Sequence[Playbook]:
    """The playbooks that may match an alert of the rule, whose series may have any labels."""
    labels = {**rule.labels, "alertname": rule.name}
    return [
        playbook
        for playbook in playbooks.items
        if all(
            matcher.matches(labels)
            for matcher in playbook.match
            if matcher.name in labels and "{{" not in labels[matcher.name]
        )
    ]
