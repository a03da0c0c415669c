"""Fetches the alerts that Alertmanager left out of a delivery from its API.

With `max_alerts` Alertmanager sorts before it truncates, so each delivery lacks the same alerts.
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog
from pydantic_core import from_json

from receiver.http import bounded_read
from receiver.http.bounded_read import TooLargeError, TooSlowError
from receiver.runtime.pools import Pool
from receiver.webhook import payload
from receiver.webhook.delivery import InboxUnavailableError, Receipt
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import Alert, Envelope

_log = structlog.get_logger()
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# 10,000 alerts take 15 MB.
_BYTES_MAX = 64 * 2**20
# Seconds for each wait on the connection, and for a whole answer.
_TIMEOUT_S, _WHOLE_S = 10.0, 30.0
_TRIES, _BACKOFF_S = 3, 1.0
_NOT_YET = "0001-01-01T00:00:00Z"


class _UnusableError(Exception):
    """Alertmanager's answer cannot be used; the text has the reason."""


@dataclass
class Truncated:
    """Fetches truncated groups from Alertmanager at `url` in the background.

    `submit` stores alerts.
    """

    url: str
    http: httpx.Client
    submit: Callable[[Sequence[Alert], float], "Future[Receipt]"]
    metrics: WebhookMetrics
    clock: Callable[[], float] = time.time
    _pool: Pool = field(default_factory=lambda: Pool(1, "truncated"), init=False)
    _under_way: set[str] = field(default_factory=set, init=False)
    _closed: threading.Event = field(default_factory=threading.Event, init=False)

    def fetch(self, envelope: Envelope) -> None:
        """Fetch all alerts of this delivery's group, unless a fetch is running already.

        The inbox counts known alerts as repeats.
        """
        matchers = _matchers(envelope.group_labels)
        key = json.dumps([envelope.receiver, matchers])
        if key in self._under_way:
            return
        self._under_way.add(key)
        try:
            self._pool.submit(self._fetch, key, matchers, envelope.receiver)
        except RuntimeError:
            self._under_way.discard(key)

    def close(self) -> None:
        """Try nothing again: the end of the process waits for the thread."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, key: str, matchers: Sequence[str], receiver: str) -> None:
        try:
            for attempt in range(_TRIES):
                try:
                    alerts = self._get_alerts(matchers, receiver)
                    receipt = self.submit(alerts, self.clock()).result(_TIMEOUT_S)
                except (
                    httpx.HTTPError,
                    _UnusableError,
                    InboxUnavailableError,
                    TimeoutError,
                ) as error:
                    _log.warning(
                        "truncated_alerts_fetch_failed",
                        group=list(matchers),
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
            _log.error("truncated_alerts_lost", group=list(matchers))
        finally:
            self._under_way.discard(key)

    def _get_alerts(self, matchers: Sequence[str], receiver: str) -> list[Alert]:
        params: dict[str, Any] = {
            "filter": list(matchers),
            "active": "true",
            "silenced": "false",
            "inhibited": "false",
            "receiver": f"^(?:{re.escape(receiver)})$" if receiver else ".*",
        }
        url = f"{self.url.rstrip('/')}/api/v2/alerts"
        with self.http.stream("GET", url, params=params, timeout=_TIMEOUT_S) as response:
            if response.status_code != httpx.codes.OK:
                raise _UnusableError(f"Alertmanager answered {response.status_code}")
            try:
                body = bounded_read.read_bounded(
                    response, max_bytes=_BYTES_MAX, deadline=time.monotonic() + _WHOLE_S
                )
            except (TooLargeError, TooSlowError) as error:
                raise _UnusableError(str(error)) from None
        return _firing(body, self.clock())


def _matchers(labels: Mapping[str, Any]) -> list[str]:
    """The group's labels as Alertmanager's matchers; values are quoted as in JSON and Go."""
    return [
        f"{name}={json.dumps(value)}"
        for name, value in sorted(labels.items())
        if _NAME.fullmatch(name) and isinstance(value, str)
    ]


def _firing(body: bytes, now: float) -> list[Alert]:
    try:
        # The parser of deliveries, which refuses invalid Unicode.
        raw = from_json(body)
    except ValueError:
        raise _UnusableError("Alertmanager's answer is not JSON") from None
    if not isinstance(raw, list):
        raise _UnusableError("Alertmanager's answer is not a list")
    # The API's endsAt is the alert's time-out; a webhook's is its end.
    firing = {"status": "firing", "endsAt": _NOT_YET}
    alerts = (payload.parse_alert(item | firing, now) for item in raw if isinstance(item, dict))
    return [alert for alert in alerts if alert is not None]
