"""The alerting instances of a group, by reports that Prometheus or a decision confirms."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from receiver.evidence.firing_alerts import FiringAlert, read_firing
from receiver.evidence.prometheus.client import Prometheus
from receiver.playbooks.loader import Playbooks
from receiver.runs.store import AlertingInstance


@dataclass(frozen=True, kw_only=True)
class AlertReports:
    """Reported alerts about a group's instances, and the alerts that Prometheus itself fires.

    `resolved` are runs whose alerts were reported as resolved. `firing` is None if it was not read.
    """

    alerts: Sequence[AlertingInstance]
    resolved: Collection[str]
    firing: frozenset[FiringAlert] | None

    def alerting(self, own: FiringAlert) -> frozenset[str]:
        """The instances that count for a decision on the `own` alert.

        If Prometheus does not fire the `own` alert, the alerts have another source, so what
        Prometheus fires does not tell which of them are true.
        """
        firing = self.firing if self.firing is not None and own in self.firing else None
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
    `resolved` gives the runs whose alerts were reported as resolved.
    """

    playbooks: Playbooks
    prometheus: Prometheus
    resolved: Callable[[Sequence[str]], Collection[str]]

    def read(
        self, reported: Sequence[AlertingInstance], targets: Collection[str], now: float
    ) -> AlertReports:
        """The reports of a group, for decisions on alerts about the `targets`."""
        alerts = [
            alert
            for alert in reported
            if alert.judged or len(self.playbooks.matching(alert.labels)) == 1
        ]
        resolved = self.resolved([alert.run_id for alert in alerts])
        doubtful = {
            alert.instance_id for alert in alerts if not alert.judged or alert.run_id in resolved
        }
        asked = doubtful.union(targets)
        # A single target is no storm.
        firing = self._read_firing(alerts, asked, now) if doubtful and len(asked) > 1 else None
        return AlertReports(alerts=alerts, resolved=resolved, firing=firing)

    def _read_firing(
        self, alerts: Sequence[AlertingInstance], targets: Collection[str], now: float
    ) -> frozenset[FiringAlert] | None:
        """What each Prometheus that knows one of the alerts fires; None if one has no answer."""
        known = {id(one): one for one in (self.prometheus.of(alert.labels) for alert in alerts)}
        answers = [read_firing(prometheus, targets, now) for prometheus in known.values()]
        if None in answers:
            return None
        return frozenset[FiringAlert]().union(*filter(None, answers))
