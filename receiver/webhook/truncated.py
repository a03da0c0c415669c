"""Fetches the alerts that Alertmanager left out of a delivery from its API.

With `max_alerts` Alertmanager sorts before it truncates, so each delivery lacks the same alerts.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import structlog

from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.runtime.pools import Pool
from receiver.webhook import payload
from receiver.webhook.delivery import InboxUnavailableError, Receipt
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import Alert, AlertmanagerEnvelope, Envelope

_log = structlog.get_logger()
# Seconds until the alerts must be stored.
_STORED_S = 10.0
_TRIES, _BACKOFF_S = 3, 1.0
_NOT_YET = "0001-01-01T00:00:00Z"
# Alertmanager sends the receiver's name as Go's regexp.QuoteMeta quotes it.
_QUOTED = re.compile(r"\\(.)")


class _NothingFoundError(Exception):
    """Alertmanager lists no alert of the group, though it has just delivered one that fires."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The receiver and the labels of a group of alerts; `fires` if a delivered alert does."""

    receivers: frozenset[str]
    labels: Mapping[str, str]
    fires: bool

    def has(self, alert: Mapping[str, Any]) -> bool:
        labels = alert["labels"]
        equal = all(labels.get(name) == value for name, value in self.labels.items())
        return equal and (not self.receivers or not self.receivers.isdisjoint(receivers_of(alert)))


def receivers_of(alert: Mapping[str, Any]) -> set[str]:
    """The names of the receivers of an alert, as the API has it."""
    receivers = alert.get("receivers")
    names = receivers if isinstance(receivers, list) else []
    return {str(name.get("name")) for name in names if isinstance(name, dict)}


def unquoted(receiver: str) -> frozenset[str]:
    """What the receiver of a delivery may be called in the API."""
    return frozenset(filter(None, (receiver, _QUOTED.sub(r"\1", receiver))))


def active_alert(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """An active alert of the API as a delivery has it.

    The API's endsAt is the alert's time-out; a webhook's is its end.
    """
    return {**raw, "status": "firing", "endsAt": _NOT_YET}


@dataclass
class Truncated:
    """Fetches truncated groups in the background; `submit` stores alerts."""

    alertmanager: Alertmanager
    submit: Callable[[Sequence[Alert], float], "Future[Receipt]"]
    metrics: WebhookMetrics
    clock: Callable[[], float] = time.time
    _pool: Pool = field(default_factory=lambda: Pool(1, "truncated"), init=False)
    _under_way: set[str] = field(default_factory=set, init=False)
    _closed: threading.Event = field(default_factory=threading.Event, init=False)

    def fetch(self, envelope: Envelope, *, fires: bool) -> None:
        """Fetch all alerts of this delivery's group, unless a fetch is running already.

        `fires` if an alert of the delivery does. The inbox counts known alerts as repeats. Of
        another sender than Alertmanager there is nobody to ask: they are counted as lost.
        """
        if not isinstance(envelope, AlertmanagerEnvelope):
            self.metrics.truncated_groups.labels("lost").inc()
            _log.error("truncated_alerts_lost", group=dict(envelope.group_labels))
            return
        key = json.dumps([envelope.receiver, envelope.group_labels], sort_keys=True)
        if key in self._under_way:
            return
        labels = {
            name: value for name, value in envelope.group_labels.items() if isinstance(value, str)
        }
        group = _Group(receivers=unquoted(envelope.receiver), labels=labels, fires=fires)
        self._under_way.add(key)
        try:
            self._pool.submit(self._fetch, key, group)
        except RuntimeError:
            self._under_way.discard(key)

    def close(self) -> None:
        """Try nothing again: the end of the process waits for the thread."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, key: str, group: _Group) -> None:
        try:
            for attempt in range(_TRIES):
                try:
                    alerts = self._get_alerts(group)
                    receipt = self.submit(alerts, self.clock()).result(_STORED_S)
                except (
                    AlertmanagerError,
                    _NothingFoundError,
                    InboxUnavailableError,
                    TimeoutError,
                ) as error:
                    _log.warning(
                        "truncated_alerts_fetch_failed",
                        group=dict(group.labels),
                        error=type(error).__name__,
                        reason=str(error)[:200],
                    )
                    if self._closed.wait(_BACKOFF_S * 2**attempt):
                        break
                else:
                    _log.info(
                        "truncated_alerts_fetched", alerts=len(alerts), accepted=receipt.accepted
                    )
                    self.metrics.truncated_groups.labels("fetched").inc()
                    return
            self.metrics.truncated_groups.labels("lost").inc()
            _log.error("truncated_alerts_lost", group=dict(group.labels))
        finally:
            self._under_way.discard(key)

    def _get_alerts(self, group: _Group) -> list[Alert]:
        listed = self.alertmanager.active_alerts()
        now = self.clock()
        parsed = [payload.parse_alert(active_alert(raw), now) for raw in listed if group.has(raw)]
        if group.fires and not parsed:
            names = ", ".join(sorted(group.receivers))
            raise _NothingFoundError(
                f"Alertmanager lists none of the group's alerts for the receiver {names},"
                f" among {len(listed)} active ones"
            )
        return [alert for alert in parsed if alert is not None]
