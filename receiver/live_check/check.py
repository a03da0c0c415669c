"""Asks the real Prometheus, Alertmanager and AWS what would become of their alerts."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from actions.aws.client_set import Aws
from models.features.signals import ROLES
from receiver.evidence.prometheus.answers import AlertingRule, PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.presence import SeriesPresence
from receiver.evidence.roles.believable import is_believable
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.evidence.roles.promql import LATEST, query
from receiver.evidence.targets.resolver import TargetResolver
from receiver.http.access import tokens
from receiver.http.access.tokens import Role, TokensError
from receiver.live_check.alerts import (
    FoundAlert,
    find_targets,
    playbooks_of_rule,
    read_firing_labels,
)
from receiver.live_check.permissions import find_denied
from receiver.live_check.routes import WebhookReceiver, read_receivers
from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.playbooks.alert_rules import OWN_ALERTS
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.public_alerts import why_no_playbook
from receiver.playbooks.schema import Playbook
from receiver.settings import Settings

# Seconds. Older samples than these no verdict takes as the state of now.
_OLD_S = 120.0
_AGE = "time() - max(timestamp(up))"
_FAILED = 'sum(increase(alertmanager_notifications_failed_total{integration="webhook"}[1h])) > 0'


@dataclass(frozen=True, kw_only=True)
class LiveReport:
    """`lines` tell what was found, `findings` what somebody must mend."""

    lines: Sequence[str]
    findings: Sequence[str]


@dataclass(kw_only=True)
class LiveCheck:
    """All parts are the real ones; `now` is in epoch seconds."""

    settings: Settings
    playbooks: Playbooks
    prometheus: Prometheus
    alertmanager: Alertmanager
    aws: Aws
    targets: TargetResolver
    exporters: Sequence[Exporter] = (NODE_EXPORTER,)
    now: float = field(default_factory=time.time)
    _lines: list[str] = field(default_factory=list, init=False)
    _findings: list[str] = field(default_factory=list, init=False)

    def run(self) -> LiveReport:
        """Never raises for a server that does not answer: that is a finding."""
        try:
            self._check_prometheus()
        except PrometheusError as error:
            self._findings.append(str(error))
        receivers = self._check_alertmanager()
        self._check_tokens()
        self._check_firing(receivers)
        self._findings += find_denied(self.aws, trail=self.settings.cloudtrail)
        return LiveReport(lines=self._lines, findings=list(dict.fromkeys(self._findings)))

    def _check_prometheus(self) -> None:
        queries = {playbook.name: list(_queries(playbook)) for playbook in self.playbooks.items}
        texts = [text for pairs in queries.values() for _, text in pairs]
        presences, fed = list[SeriesPresence](), set[str]()
        for prometheus in self.prometheus.each:
            rules, presence = prometheus.alerting_rules(), SeriesPresence(prometheus, self.now)
            presence.learn([*texts, *(rule.expr for rule in rules)])
            for rule in rules:
                fed |= self._check_rule(rule, presence)
            presences.append(presence)
            self._check_samples(prometheus)
        for playbook in self.playbooks.items:
            if playbook.alertname not in OWN_ALERTS and playbook.name not in fed:
                self._findings.append(f"playbook {playbook.name}: no alert rule feeds it")
            for what, text in queries[playbook.name]:
                lacking = [presence.lacking(text) for presence in presences]
                if all(lacking):
                    listed = ", ".join(lacking[-1])
                    self._findings.append(
                        f"playbook {playbook.name}: {what} selects nothing: {listed}"
                    )
        if any(not playbook.recheck for playbook in self.playbooks.items):
            self._check_roles()

    def _check_rule(self, rule: AlertingRule, presence: SeriesPresence) -> set[str]:
        """The names of the playbooks that the rule may feed."""
        matching = playbooks_of_rule(rule, self.playbooks)
        names = " or ".join(playbook.name for playbook in matching) or "no playbook"
        if not matching and (why := why_no_playbook(rule.name)):
            names = f"no playbook: {why}"
        self._lines.append(f"rule: {rule.name}  {names}")
        if not matching:
            return set()
        if not rule.healthy:
            self._findings.append(f"rule {rule.name}: its last evaluation failed")
        if lacking := presence.lacking(rule.expr):
            self._findings.append(f"rule {rule.name}: selects nothing: {', '.join(lacking)}")
        return {playbook.name for playbook in matching}

    def _check_roles(self) -> None:
        """Which quantities of the model no host has, or some host has in another unit."""
        for exporter in self.exporters:
            values = query("", LATEST, by="instance", exporter=exporter)
            parts = [
                f'label_replace({of} by (role) ({values}), "of", "{of}", "", "")'
                for of in ("min", "max")
            ]
            samples = [
                sample
                for prometheus in self.prometheus.each
                for sample in prometheus.instant_query(" or ".join(parts), at=self.now)
            ]
            found = {sample.labels["role"]: sample.value for sample in samples}
            if not found and exporter is not NODE_EXPORTER:
                self._findings.append(f"the model: no host has {exporter.name}")
            elif lacking := sorted(exporter.exprs.keys() - found.keys()):
                self._findings.append(f"the model: no host has {', '.join(lacking)}")
            self._findings += [
                f"the model: {name} of {exporter.name} is {sample.value:g}, no {role.unit}"
                for sample in samples
                if (role := ROLES[name := sample.labels["role"]])
                and not is_believable(role, sample.value)
            ]

    def _check_samples(self, prometheus: Prometheus) -> None:
        name = prometheus.url if len(self.prometheus.each) > 1 else ""
        ages = prometheus.instant_query(_AGE, at=self.now)
        if not ages:
            self._findings.append(f"{name or 'Prometheus'} has no series up: it scrapes nothing")
            return
        told = f"samples: the newest{name and f' of {name}'} is {ages[0].value:.0f} s old"
        self._lines.append(told)
        if ages[0].value > _OLD_S:
            self._findings.append(told)
        failed = prometheus.instant_query(_FAILED, at=self.now)
        self._findings += [
            f"Alertmanager failed to deliver {sample.value:.0f} webhooks in the last hour"
            for sample in failed
        ]

    def _check_alertmanager(self) -> Sequence[WebhookReceiver]:
        try:
            receivers = read_receivers(self.alertmanager.configuration())
        except (AlertmanagerError, ValueError) as error:
            self._findings.append(str(error))
            return ()
        gap_s = self.settings.episode_gap_s
        if not receivers:
            self._findings.append("Alertmanager has no receiver with a webhook of this service")
        for receiver in receivers:
            self._lines.append(f"receiver: {receiver.name}  repeats in {receiver.silence_s:.0f} s")
            self._findings += [f"receiver {receiver.name}: {fault}" for fault in receiver.faults]
            if receiver.silence_s > gap_s:
                self._findings.append(
                    f"receiver {receiver.name}: repeat_interval and group_interval are"
                    f" {receiver.silence_s:.0f} s, SMARTCLOUDOPS_EPISODE_GAP_S is {gap_s:.0f}"
                )
        return receivers

    def _check_tokens(self) -> None:
        try:
            listed = tokens.list_tokens(self.settings.tokens_file)
        except TokensError as error:
            self._findings.append(str(error))
            return
        valid = [token for token in listed if token.role is Role.WEBHOOK and token.valid(self.now)]
        if not valid:
            self._findings.append(
                f"{self.settings.tokens_file}: no valid token of the role webhook"
            )

    def _check_firing(self, receivers: Sequence[WebhookReceiver]) -> None:
        firing, problems = read_firing_labels(self.prometheus, self.alertmanager, self.now)
        self._findings += problems
        ours = {receiver.name for receiver in receivers}
        for alert in find_targets(firing, self.playbooks, self.targets):
            self._lines.append(str(alert))
            self._findings += _faults(alert, ours)


def _faults(alert: FoundAlert, ours: set[str]) -> Iterator[str]:
    name = alert.labels.get("alertname", "")
    if len(alert.playbooks) > 1:
        yield f"alert {name}: several playbooks match: {', '.join(alert.playbooks)}"
    if alert.playbooks and alert.target is None:
        yield f"alert {name}: no target: {alert.doubt}"
    if alert.playbooks and ours and alert.receivers is not None and not ours & alert.receivers:
        yield f"alert {name}: no route of Alertmanager leads to {' or '.join(sorted(ours))}"


def _queries(playbook: Playbook) -> Iterator[tuple[str, str]]:
    """What a playbook asks Prometheus: where it stands, and the query for an example."""
    texts = [(f"recheck {number + 1}", text) for number, text in enumerate(playbook.recheck)]
    texts += [(f"fact {name}", text) for name, text in playbook.facts.items()]
    if playbook.verify is not None:
        texts.append(("verify", playbook.verify.expr))
    texts += [
        (f"verify of step {number + 1}", step.verify.expr)
        for number, step in enumerate(playbook.steps)
        if step.verify is not None
    ]
    for what, text in texts:
        yield what, str(render(text, EXAMPLES))
