"""The alerts that Alertmanager itself has as active, for an alert that it did not repeat.

Many shops repeat an alert every four or twelve hours, and stop nothing else for as long.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import structlog

from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.runtime.cache import BoundedCache

_log = structlog.get_logger()
# A list serves this long: the decisions on a group come together, and a list may be large.
_LASTS_S = 5.0
_Labels = frozenset[tuple[str, str]]


@dataclass
class ActiveAlerts:
    """Reads the list when it is asked, at most once in a few seconds; thread-safe.

    It remembers who evaluates an alert, and when that was last received: without a sign of life of
    that server, a missing alert is not over.
    """

    alertmanager: Alertmanager
    monotonic: Callable[[], float] = time.monotonic
    _seen: BoundedCache[_Labels, tuple[str, float]] = field(
        default_factory=BoundedCache, init=False
    )
    _read_at: float | None = field(default=None, init=False)
    _active: frozenset[_Labels] | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def has(self, labels: Mapping[str, str]) -> bool | None:
        """Whether an alert with just these labels is active; None if Alertmanager does not say."""
        with self._lock:
            now = self.monotonic()
            if self._read_at is None or now - self._read_at > _LASTS_S:
                self._active, self._read_at = self._read(), now
            return None if self._active is None else _key(labels) in self._active

    def fires(self, labels: Mapping[str, str], since: float) -> bool | None:
        """Whether an alert with just these labels fires, by news of later than `since`.

        `since` is in epoch seconds. Alertmanager drops an alert that is no longer sent, and all of
        them when it restarts. So it is over only where its evaluator still sends another one.
        `updatedAt` is when an alert was last received, `generatorURL` by whom it is evaluated:
        https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
        """
        try:
            return self._fires(_key(labels), since)
        except AlertmanagerError as error:
            _log.warning("alert_state_read_failed", reason=str(error))
            return None

    def _fires(self, own: _Labels, since: float) -> bool | None:
        alerts = self.alertmanager.active_alerts(muted=True)
        for alert in alerts:
            if _key(alert["labels"]) == own:
                received_at = _received_at(alert)
                self._seen[own] = _evaluator(alert), received_at
                return True if received_at > since else None
        evaluator, received_at = self._seen.get(own, ("", 0.0))
        living = {_evaluator(alert) for alert in alerts if _received_at(alert) > since}
        if not evaluator or evaluator not in living:
            return None
        # It forgot the alert if it started since.
        return None if self.alertmanager.started_at() > received_at else False

    def _read(self) -> frozenset[_Labels] | None:
        try:
            return frozenset(_key(alert["labels"]) for alert in self.alertmanager.active_alerts())
        except AlertmanagerError as error:
            _log.warning("active_alerts_read_failed", reason=str(error))
            return None


def _key(labels: Mapping[str, object]) -> _Labels:
    """The labels that have a value: an empty one is none to Prometheus."""
    return frozenset(
        (name, value) for name, value in labels.items() if isinstance(value, str) and value
    )


def _received_at(alert: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(alert["updatedAt"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return -math.inf


def _evaluator(alert: Mapping[str, Any]) -> str:
    """The scheme and host of the server that evaluates the alert's rule; empty if none is told."""
    try:
        parts = urlsplit(str(alert.get("generatorURL", "")))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
