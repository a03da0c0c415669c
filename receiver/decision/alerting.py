"""The alerting instances of a group, by reports that Prometheus or a decision confirms."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from receiver.evidence.firing_alerts import FiringAlert, ReportedAlert, read_firing
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.targets.rules import TargetRules
from receiver.playbooks.loader import Playbooks
from receiver.runs.store import AlertingInstance

# A single target is no storm.
_SEVERAL = 2


@dataclass(frozen=True, kw_only=True)
class AlertReports:
    """Reported alerts about a group's instances, and those of them that really fire.

    `resolved` are runs whose alerts were reported as resolved. `firing` are the alerts that
    Prometheus fires, and `active` those that Alertmanager has, where Prometheus fires none of them;
    both are None if they were not read.
    """

    alerts: Sequence[AlertingInstance]
    resolved: Collection[str]
    firing: frozenset[FiringAlert] | None
    active: frozenset[FiringAlert] | None = None

    def alerting(self, own: FiringAlert) -> frozenset[str]:
        """The instances that count for a decision on the `own` alert.

        If neither Prometheus nor Alertmanager has the `own` alert, the alerts have another source,
        so what these have does not tell which of them are true.
        """
        sources = (self.firing, self.active)
        firing = next((known for known in sources if known is not None and own in known), None)
        return frozenset(alert.instance_id for alert in self.alerts if self._counts(alert, firing))

    def _counts(self, alert: AlertingInstance, firing: frozenset[FiringAlert] | None) -> bool:
        named = alert.labels.get("alertname", ""), alert.instance_id
        if firing is not None and named in firing:
            return True
        reported = alert.run_id not in self.resolved
        return reported and (alert.judged or firing is None)


@dataclass(frozen=True, kw_only=True)
class AlertingReader:
    """Reads reported alerts that a decision confirmed, or that exactly one playbook matches.

    An alert that was not judged yet, or was reported as resolved, counts if Prometheus fires it.
    Where rules are evaluated elsewhere (vmalert, a ruler without remote write), Prometheus fires
    none of them, and `is_active` tells whether Alertmanager has one with these labels. `resolved`
    gives the runs whose alerts were reported as resolved.
    """

    playbooks: Playbooks
    prometheus: Prometheus
    rules: TargetRules
    resolved: Callable[[Sequence[str]], Collection[str]]
    is_active: Callable[[Mapping[str, str]], bool | None] = lambda _: None

    def read(
        self, reported: Sequence[AlertingInstance], own: Collection[ReportedAlert], now: float
    ) -> AlertReports:
        """The reports of a group, for decisions on its `own` alerts."""
        alerts = [
            alert
            for alert in reported
            if alert.judged or len(self.playbooks.matching(alert.labels)) == 1
        ]
        resolved = self.resolved([alert.run_id for alert in alerts])
        doubtful = {
            alert.instance_id for alert in alerts if not alert.judged or alert.run_id in resolved
        }
        asked = [ReportedAlert(labels=one.labels, target=one.instance_id) for one in alerts]
        asked = [*own, *(alert for alert in asked if alert.target in doubtful)]
        if not doubtful or len({alert.target for alert in asked}) < _SEVERAL:
            return AlertReports(alerts=alerts, resolved=resolved, firing=None)
        firing = self._read_firing(asked, now)
        elsewhere = firing is not None and firing.isdisjoint(alert.key for alert in own)
        active = self._read_active(asked) if elsewhere else None
        return AlertReports(alerts=alerts, resolved=resolved, firing=firing, active=active)

    def _read_firing(
        self, alerts: Sequence[ReportedAlert], now: float
    ) -> frozenset[FiringAlert] | None:
        """What each Prometheus that knows some of the alerts fires; None if one has no answer."""
        known = defaultdict[Prometheus, list[ReportedAlert]](list)
        for alert in alerts:
            known[self.prometheus.of(alert.labels)].append(alert)
        answers = [
            read_firing(prometheus, own, self.rules.mapping, now)
            for prometheus, own in known.items()
        ]
        if None in answers:
            return None
        return frozenset[FiringAlert]().union(*filter(None, answers))

    def _read_active(self, alerts: Sequence[ReportedAlert]) -> frozenset[FiringAlert]:
        return frozenset(alert.key for alert in alerts if self.is_active(alert.labels))
