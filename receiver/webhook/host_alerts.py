"""Delivers what EC2 says of hosts to the inbox, as alerts that Prometheus cannot send.

`EC2SystemCheckFailed` fires while the system status check of an instance fails,
`EC2ScheduledEvent` until an event of its host (`event_code`) is over. Only opted-in instances
count, and nothing is read unless a playbook takes one of the two.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog

from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS
from actions.aws.host_status import IMPAIRED, HostStatus, find_affected, read_host_status
from actions.aws.instances import read_instance
from actions.aws.tags import OPT_IN_TAG
from actions.aws.target_errors import NotActionableError
from actions.place import HOME, Place
from receiver.playbooks.alert_rules import OWN_ALERTS, SCHEDULED_EVENT, SYSTEM_CHECK
from receiver.playbooks.loader import Playbooks
from receiver.runtime.periodic import Periodic
from receiver.runtime.rfc3339 import rfc3339
from receiver.webhook.delivery import InboxUnavailableError, Receipt
from receiver.webhook.inbox import Inbox
from receiver.webhook.payload import Alert, parse_alert

_logger = structlog.get_logger()
# EC2 checks each instance once a minute; a delivered alert must be repeated within the episode's
# gap of six minutes.
_EVERY_S = 60.0
_STORED_WITHIN_S = 10.0
_Key = tuple[Place, str, str]


@dataclass(kw_only=True)
class HostAlerts:
    """Polls EC2 in each place; `clock` gives epoch seconds.

    A failed read delivers nothing of its place, not even an end.
    """

    aws_at: Callable[[Place], Aws]
    places: Sequence[Place] = (HOME,)
    inbox: Inbox
    playbooks: Playbooks
    clock: Callable[[], float]
    # The labels of the open alerts, by place, instance and event code ("" for the status check).
    _open: dict[_Key, Mapping[str, str]] = field(default_factory=dict, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("host_alerts", _EVERY_S, self.run_once, at_once=True)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Deliver once; a failure is logged, and the next interval tries again.

        Nothing is read while no playbook takes such an alert.
        """
        if OWN_ALERTS.isdisjoint(playbook.alertname for playbook in self.playbooks.items):
            return
        for place in self.places:
            try:
                self.deliver(place)
            except (NotActionableError, KeyError, *AWS_ERRORS) as error:
                _logger.warning("host_status_read_failed", error=repr(error))
            except (InboxUnavailableError, TimeoutError) as error:
                _logger.warning("host_alerts_not_stored", error=repr(error))

    def deliver(self, place: Place = HOME) -> None:
        """Deliver the place's alerts that fire, and the ends of those that fired before."""
        now, aws = self.clock(), self.aws_at(place)
        firing: dict[_Key, tuple[Mapping[str, str], float | None]] = {}
        for host in find_affected(aws):
            labels = self._labels_of(aws, place, host.id)
            for code, own, since in _causes(host) if labels else ():
                firing[place, host.id, code] = ({**labels, **own}, since)
        before = {key: labels for key, labels in self._open.items() if key[0] == place}
        ended = {
            key: labels
            for key, labels in before.items()
            if key not in firing and _is_over(aws, *key[1:])
        }
        lasting = {key: (labels, None) for key, labels in before.items() if key not in ended}
        alerts = [
            *(_alert(labels, now, since=since) for labels, since in (lasting | firing).values()),
            *(_alert(labels, now, firing=False) for labels in ended.values()),
        ]
        if alerts:
            stored: Future[Receipt] = self.inbox.submit(alerts, now)
            stored.result(_STORED_WITHIN_S)
        elsewhere = {key: labels for key, labels in self._open.items() if key[0] != place}
        self._open = elsewhere | {key: labels for key, (labels, _) in (lasting | firing).items()}

    @staticmethod
    def _labels_of(aws: Aws, place: Place, instance_id: str) -> Mapping[str, str]:
        """The labels that name the instance; empty where it is not opted in."""
        instance = read_instance(aws, instance_id)
        if instance.tags.get(OPT_IN_TAG) != "true":
            return {}
        group = {"asg": instance.group} if instance.group else {}
        where = {name: value for name, value in vars(place).items() if value}
        return {"instance_id": instance.id, "az": instance.az, **group, **where}


def _causes(host: HostStatus) -> Iterator[tuple[str, Mapping[str, str], float | None]]:
    """The code of each alert about the host, its own labels, and since when it fires."""
    if host.system == IMPAIRED:
        yield "", {"alertname": SYSTEM_CHECK, "severity": "critical"}, host.impaired_since
    for event in host.events:
        own = {"alertname": SCHEDULED_EVENT, "severity": "warning", "event_code": event.code}
        yield event.code, own, None


def _is_over(aws: Aws, instance_id: str, code: str) -> bool:
    """Whether EC2 shows that the check passes, or that no such event is to come.

    A stopped instance has no checks: that is no end.
    """
    try:
        host = read_host_status(aws, instance_id)
    except NotActionableError:
        return True
    if code:
        return all(event.code != code for event in host.events)
    return host.system == "ok"


def _alert(
    labels: Mapping[str, str], now: float, *, firing: bool = True, since: float | None = None
) -> Alert:
    raw: dict[str, Any] = {"labels": dict(labels), "status": "firing" if firing else "resolved"}
    if since is not None:
        raw["startsAt"] = rfc3339(since)
    if not firing:
        raw["endsAt"] = rfc3339(now)
    alert = parse_alert(raw, now)
    if alert is None:
        raise LookupError("unreachable: the alert has labels")
    return alert
