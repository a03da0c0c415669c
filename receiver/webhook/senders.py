"""Who delivers alerts: where, with what proof of who it is, and in what shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from receiver.http.access.auth import check_role
from receiver.http.access.tokens import Role, Tokens
from receiver.webhook import grafana, payload
from receiver.webhook.grafana import GrafanaEnvelope
from receiver.webhook.payload import Alert, AlertmanagerEnvelope, Envelope

ALERTMANAGER_PATH, GRAFANA_PATH = "/webhook/alertmanager", "/webhook/grafana"
_BODY_MAX = 16 * 1024 * 1024
# Bytes. A larger body is parsed in a thread, because it would block the event loop.
_THREAD_FROM = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The alerts of a body; `rejected` counts those that become no run.

    `duplicates` counts those of a body that was stored before. `envelope` tells which alerts the
    sender left out. `after` is called once the alerts are stored.
    """

    alerts: Sequence[Alert]
    rejected: int = 0
    duplicates: int = 0
    envelope: Envelope | None = None
    after: Callable[[], None] | None = None


class Sender(Protocol):
    """`body_max` and `thread_from` are in bytes; a longer body is read in a thread."""

    @property
    def path(self) -> str: ...

    @property
    def body_max(self) -> int: ...

    @property
    def thread_from(self) -> int: ...

    def admit(self, authorization: str, address: str) -> None:
        """Check the caller before its body is read. Raises HTTPException."""

    def read(self, body: bytes, now: float) -> Batch:
        """Raises NotJsonError, WrongShapeError or HTTPException."""


@dataclass(frozen=True, kw_only=True)
class TokenSender:
    """A sender with a token of the role webhook; `parse_alert` reads one alert of its `shape`.

    `note` is told of each delivery's envelope.
    """

    path: str
    tokens: Tokens
    shape: type[Envelope]
    parse_alert: Callable[[Any, float], Alert | None]
    body_max: int = _BODY_MAX
    thread_from: int = _THREAD_FROM
    note: Callable[[Envelope], None] | None = None

    def admit(self, authorization: str, address: str) -> None:
        check_role(self.tokens, authorization, Role.WEBHOOK, address, self.path)

    def read(self, body: bytes, now: float) -> Batch:
        envelope = payload.parse_envelope(body, self.shape)
        parsed = [self.parse_alert(raw, now) for raw in envelope.alerts]
        if self.note is not None:
            self.note(envelope)
        # The raw alerts take more memory than the parsed ones, so they are freed.
        envelope.alerts.clear()
        alerts = [alert for alert in parsed if alert is not None]
        return Batch(alerts=alerts, rejected=len(parsed) - len(alerts), envelope=envelope)


def alertmanager(tokens: Tokens, note: Callable[[Envelope], None]) -> TokenSender:
    return TokenSender(
        path=ALERTMANAGER_PATH,
        tokens=tokens,
        shape=AlertmanagerEnvelope,
        parse_alert=payload.parse_alert,
        note=note,
    )


def grafana_alerting(tokens: Tokens) -> TokenSender:
    """Grafana's own alerts, by a contact point."""
    return TokenSender(
        path=GRAFANA_PATH,
        tokens=tokens,
        shape=GrafanaEnvelope,
        parse_alert=grafana.parse_alert,
    )
