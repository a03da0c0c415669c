"""A client for Alertmanager's API.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx
from pydantic_core import from_json

from receiver.http import bounded_read
from receiver.http.bounded_read import TooLargeError, TooSlowError
from receiver.http.unicode_json import as_unicode
from receiver.monitoring import servers
from receiver.monitoring.login import CredentialsError
from receiver.settings import Settings

_T = TypeVar("_T")
# Errors that prove that the request never reached the server.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)
_SERVER_ERROR = 500
# 10,000 alerts take 15 MB.
_BYTES_MAX = 64 * 2**20
# Seconds for each wait on the connection, and for a whole answer.
_WAIT_S, _WHOLE_S = 10.0, 30.0
# Alertmanager tells nobody of the others.
_ACTIVE = {"active": "true", "silenced": "false", "inhibited": "false", "unprocessed": "false"}
_NOTIFIED = {"active": "true", "silenced": "false", "inhibited": "false", "muted": "false"}
# At the end of the names of the intervals at which a route is muted, or not.
_INTERVALS = "_time_intervals"


class AlertmanagerError(Exception):
    """Alertmanager gave no usable answer; `sent` if the request may have had an effect.

    The message has no address and no secret.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


def connect(settings: Settings, client: httpx.Client | None = None) -> "Alertmanager":
    """The first Alertmanager of the settings. Raises InvalidServersError.

    With a `client`, requests go through it.
    """
    server = servers.load(settings.alertmanager_file, settings.alertmanager_url)[0]
    return Alertmanager(str(server.url), client or server.client())


@dataclass(frozen=True, eq=False)
class Alertmanager:
    """The Alertmanager at `url`; thread-safe."""

    url: str
    client: httpx.Client

    def active_alerts(self, *, muted: bool = False) -> Sequence[Mapping[str, Any]]:
        """All alerts of which Alertmanager notifies, as its API has them; with `muted`, all.

        No filter is sent: a label's text would have to be quoted in the words of another language.
        Raises AlertmanagerError.
        """
        return _alerts(self._list("alerts", {} if muted else _ACTIVE))

    def notified_alerts(self) -> Sequence[Mapping[str, Any]]:
        """The alerts of which it notifies now, each with the receiver of its route.

        The list of alerts does not tell of time intervals that mute a route; that of groups does
        since 0.28. Before that nobody can tell: then there are none where the configuration has
        such intervals. Raises AlertmanagerError.
        """
        found = [
            {**alert, "receivers": [group.get("receiver")]}
            for group in self._list("alerts/groups", _NOTIFIED)
            for alert in _alerts(group.get("alerts") or ())
        ]
        muted = [_muted_by(alert) for alert in found]
        if None in muted and _INTERVALS in self.configuration():
            return []
        return [alert for alert, names in zip(found, muted, strict=True) if not names]

    def _list(self, path: str, params: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        body = self.call("GET", path, params=params)
        try:
            listed = from_json(as_unicode(body))
        except ValueError:
            raise AlertmanagerError("Alertmanager's answer is not JSON", sent=True) from None
        if not isinstance(listed, list):
            raise AlertmanagerError("Alertmanager's answer is not a list", sent=True)
        return [item for item in listed if isinstance(item, dict)]

    def configuration(self) -> str:
        """The configuration, as YAML, with `<secret>` in place of secrets.

        Raises AlertmanagerError.
        """
        return self._status(lambda status: str(status["config"]["original"]))

    def started_at(self) -> float:
        """When it started, in epoch seconds: alerts do not outlive it. Raises AlertmanagerError."""
        return self._status(lambda status: datetime.fromisoformat(status["uptime"]).timestamp())

    def _status(self, read: Callable[[Any], _T]) -> _T:
        body = self.call("GET", "status")
        try:
            return read(from_json(as_unicode(body)))
        except (ValueError, KeyError, TypeError):
            raise AlertmanagerError("Alertmanager's status is unreadable", sent=True) from None

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        wait_s: float = _WAIT_S,
    ) -> bytes:
        """Returns the body of a 2xx answer. Raises AlertmanagerError."""
        until = time.monotonic() + min(_WHOLE_S, 3 * wait_s)
        url = f"{self.url.rstrip('/')}/api/v2/{path}"
        try:
            with self.client.stream(
                method, url, json=body, params=params, follow_redirects=False, timeout=wait_s
            ) as answer:
                content = bounded_read.read_bounded(answer, max_bytes=_BYTES_MAX, deadline=until)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            sent = not isinstance(error, (*_NEVER_SENT, CredentialsError))
            why = str(error) if isinstance(error, CredentialsError) else type(error).__name__
            reason = f"Alertmanager cannot be reached: {why}"
            raise AlertmanagerError(reason, sent=sent) from error
        except (TooLargeError, TooSlowError) as error:
            reason = f"unusable response from Alertmanager: {error}"
            raise AlertmanagerError(reason, sent=True) from error
        if not answer.is_success:
            status = answer.status_code
            raise AlertmanagerError(f"Alertmanager answered {status}", sent=status >= _SERVER_ERROR)
        return content


def _alerts(listed: Iterable[Any]) -> Sequence[Mapping[str, Any]]:
    return [
        alert
        for alert in listed
        if isinstance(alert, dict) and isinstance(alert.get("labels"), dict)
    ]


def _muted_by(alert: Mapping[str, Any]) -> Sequence[str] | None:
    """The names of the time intervals that mute the alert's route; None where it is not told."""
    status = alert.get("status")
    return status.get("mutedBy") if isinstance(status, dict) else None
