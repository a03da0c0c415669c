"""The alerts that Alertmanager itself has as active, for an alert that it did not repeat.

Many shops repeat an alert every four or twelve hours, and stop nothing else for as long.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError

_log = structlog.get_logger()
# A list serves this long: the decisions on a group come together, and a list may be large.
_LASTS_S = 5.0
_Labels = frozenset[tuple[str, str]]


@dataclass
class ActiveAlerts:
    """Reads the list when it is asked, at most once in a few seconds; thread-safe."""

    alertmanager: Alertmanager
    monotonic: Callable[[], float] = time.monotonic
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
