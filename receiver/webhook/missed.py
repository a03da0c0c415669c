"""Notices alerts that fire at Alertmanager, and of which no delivery came.

Alertmanager gives a notification up after some minutes of errors, and says so only in its log and
in its metric `alertmanager_notifications_failed_total`.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.runtime.periodic import Periodic
from receiver.webhook.delivery import InboxUnavailableError
from receiver.webhook.episodes import Episode
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import Alert, Envelope, parse_alert
from receiver.webhook.truncated import active_alert, receivers_of, unquoted

_log = structlog.get_logger()
_EVERY_S, _STORED_S = 60.0, 10.0
# Longer than Alertmanager takes to notify of an alert by default (group_interval, 5 min).
_GRACE_S = 360.0
# More receivers deliver to no service.
_RECEIVERS_MAX = 100


@dataclass(kw_only=True)
class MissedAlerts:
    """Asks Alertmanager each minute for alerts of the receivers that delivered to this process.

    One that is unknown to the inbox for six minutes is taken as delivered; so is, for another
    decision, one that was put off until now: `put_off` are such runs among some. What other
    receivers are told of is none of ours, nor what people have muted.
    """

    alertmanager: Alertmanager
    inbox: Inbox
    metrics: WebhookMetrics
    clock: Callable[[], float]
    put_off: Callable[[Sequence[str]], AbstractSet[str]] = lambda _: frozenset()
    _receivers: set[str] = field(default_factory=set, init=False)
    # Since when each unknown alert was seen, by key.
    _unknown: dict[str, float] = field(default_factory=dict, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("missed_alerts", _EVERY_S, self.run_once)

    def note(self, envelope: Envelope) -> None:
        """Remember the receiver of a delivery."""
        if envelope.receiver and len(self._receivers) < _RECEIVERS_MAX:
            self._receivers |= unquoted(envelope.receiver)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """A failure is logged, and the next interval tries again."""
        if not self._receivers:
            return
        try:
            self.deliver()
        except AlertmanagerError as error:
            _log.warning("missed_alerts_read_failed", reason=str(error))
        except (SQLAlchemyError, InboxUnavailableError, TimeoutError) as error:
            _log.warning("missed_alerts_not_stored", error=type(error).__name__)

    def deliver(self) -> None:
        """Deliver the alerts that have been unknown for long enough."""
        now = self.clock()
        receivers: AbstractSet[str] = self._receivers
        listed = [
            parse_alert(active_alert(raw), now)
            for raw in self.alertmanager.notified_alerts()
            if not receivers.isdisjoint(receivers_of(raw))
        ]
        alerts = {alert.key: alert for alert in listed if alert is not None}
        known = self.inbox.episodes_by_key(list(alerts))
        unknown = {
            key: alert for key, alert in alerts.items() if _is_unknown(alert, known.get(key))
        }
        self._unknown = {key: self._unknown.get(key, now) for key in unknown}
        missed = [unknown[key] for key, since in self._unknown.items() if now - since >= _GRACE_S]
        ended = {
            key: episode
            for key, episode in known.items()
            if episode.reopens_at is not None and episode.reopens_at <= now
        }
        over = [episode.run_id for episode in ended.values()]
        put_off = self.put_off(over) if over else frozenset()
        again = [alerts[key] for key, episode in ended.items() if episode.run_id in put_off]
        if again:
            self.inbox.submit(again, now).result(_STORED_S)
        if missed:
            self.inbox.submit(missed, now).result(_STORED_S)
            self.metrics.alerts_missed.inc(len(missed))
            names = sorted({alert.labels.get("alertname", "") for alert in missed})
            _log.error("alerts_missed", alerts=len(missed), alertnames=names[:20])


def _is_unknown(alert: Alert, episode: Episode | None) -> bool:
    """Whether the inbox has no copy of the alert since it began."""
    if episode is None:
        return True
    over = [at for at in (episode.ended_at, episode.resolved_at) if at is not None]
    return bool(over) and alert.starts_at is not None and alert.starts_at > max(over)
