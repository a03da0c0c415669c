"""Alertmanager's deliveries, stored on disk before they are acknowledged.

They bypass middlewares and routes, which would cost more than storing them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from receiver.http.auth import GuardedRoute, check_role, require_role
from receiver.http.middleware import (
    ID,
    BodyTooLargeError,
    header_of,
    internal_error,
    make_rate_limiter,
    request_id_of,
    with_headers,
)
from receiver.http.openapi import answers
from receiver.http.problems import problem
from receiver.http.rate_limit import RateLimiter, client_of
from receiver.http.tokens import Role, Tokens
from receiver.webhook import payload
from receiver.webhook.delivery import InboxUnavailableError, Receipt
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import Alert, Envelope, NotJsonError, NotVersion4Error
from receiver.webhook.truncated import Truncated

PATH = "/webhook/alertmanager"
BODY_MAX = 16 * 1024 * 1024
_log = structlog.get_logger()
# Bytes. A larger body is parsed in a thread, because it would block the event loop.
_THREAD_FROM = 64 * 1024
# Longer than the database's own timeouts, so that the sender gets their errors.
_STORE_TIMEOUT_S = 12.0
_COUNTS = b'{"accepted": %d, "duplicates": %d, "resolved": %d, "rejected": %d}'
# Security headers are left out: they would cost time, and only browsers use them.
_JSON = (b"content-type", b"application/json")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


class DeliveryCounts(BaseModel):
    """Each alert is counted once: new and firing, a duplicate, resolved, or rejected."""

    accepted: int
    duplicates: int
    resolved: int
    rejected: int


class _DisconnectedError(Exception):
    """The client disconnected."""


@dataclass(kw_only=True)
class Deliveries:
    """An ASGI application for one path; it allows a client `per_s` deliveries per second."""

    inbox: Inbox
    truncated: Truncated
    tokens: Tokens
    metrics: WebhookMetrics
    clock: Callable[[], float]
    per_s: float
    _limiter: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._limiter = make_rate_limiter(self.per_s)
        self._firing = self.metrics.alerts_received.labels("firing")
        self._resolved = self.metrics.alerts_received.labels("resolved")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = request_id_of(scope)
        # Each request has its own task, and so its own context.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            status, body = 200, await self._answer(scope, receive, request_id)
            length = (b"content-length", b"%d" % len(body))
            headers = [_JSON, _NO_SNIFFING, length, (ID, request_id.encode())]
        except _DisconnectedError:
            return
        except Exception as error:  # noqa: BLE001 the client gets an error and tries again
            refusal = _error_response(error, request_id)
            self.metrics.rejected.labels(refusal.status_code).inc()
            status, body = refusal.status_code, bytes(refusal.body)
            headers = with_headers(refusal.raw_headers, scope, request_id)
        finally:
            self.metrics.duration.observe(time.perf_counter() - started)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> bytes:
        address = scope["client"][0] if scope.get("client") else ""
        if wait_s := self._limiter.wait_s(client_of(address)):
            # Alertmanager retries after 503, but drops the alerts after 429.
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many deliveries from this address",
                {"Retry-After": str(int(wait_s) + 1)},
            )
        authorization = header_of(scope, b"authorization").decode("latin-1")
        check_role(self.tokens, authorization, Role.WEBHOOK, address, PATH)
        now = self.clock()
        envelope, alerts, rejected = await _read(receive, now)
        receipt = await self._store(alerts, now, request_id)
        self._firing.inc(receipt.accepted + receipt.duplicates)
        if receipt.resolved:
            self._resolved.inc(receipt.resolved)
        if receipt.duplicates:
            self.metrics.alerts_duplicate.inc(receipt.duplicates)
        if envelope.truncated:
            self.metrics.alerts_truncated.inc(envelope.truncated)
            self.truncated.fetch(envelope, fires=receipt.accepted + receipt.duplicates > 0)
        return _COUNTS % (receipt.accepted, receipt.duplicates, receipt.resolved, rejected)

    async def _store(self, alerts: Sequence[Alert], now: float, request_id: str) -> Receipt:
        try:
            async with asyncio.timeout(_STORE_TIMEOUT_S):
                return await self.inbox.store(alerts, now, request_id=request_id)
        except InboxUnavailableError as error:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        except TimeoutError:
            # If the alerts are stored later, their next delivery counts as a duplicate.
            problem_text = f"the delivery was not stored within {_STORE_TIMEOUT_S:.0f} s"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, problem_text) from None


def _error_response(error: Exception, request_id: str) -> Response:
    """The response to any error; Alertmanager retries after a 5xx."""
    if isinstance(error, HTTPException):
        _log.warning("delivery_rejected", status=int(error.status_code), reason=error.detail)
        headers = dict(error.headers or {})
        return problem(error.status_code, error.detail, headers, request_id=request_id)
    return internal_error(error, PATH, request_id)


async def _read(receive: Receive, now: float) -> tuple[Envelope, Sequence[Alert], int]:
    body = await _read_body(receive)
    try:
        if len(body) < _THREAD_FROM:
            return _parse(body, now)
        return await asyncio.to_thread(_parse, body, now)
    except NotJsonError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
    except NotVersion4Error as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _DisconnectedError
        body += message.get("body", b"")
        if len(body) > BODY_MAX:
            raise BodyTooLargeError(BODY_MAX)
        more = message.get("more_body", False)
    return body


def _parse(body: bytes, now: float) -> tuple[Envelope, Sequence[Alert], int]:
    """Returns the envelope without raw alerts, the parsed alerts, and the number without labels."""
    envelope = payload.parse_envelope(body)
    parsed = [payload.parse_alert(raw, now) for raw in envelope.alerts]
    # The raw alerts take more memory than the parsed ones, so they are freed.
    envelope.alerts.clear()
    alerts = [alert for alert in parsed if alert is not None]
    return envelope, alerts, len(parsed) - len(alerts)


# Only documents the webhook in OpenAPI: `Deliveries` answers it, before the routes.
router = APIRouter(route_class=GuardedRoute, tags=["webhook"])


_EXAMPLE = {
    "version": "4",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "HighCPU",
                "severity": "warning",
                "instance_id": "i-0a1b2c3d4e5f60718",
                "asg": "web-asg",
            },
            "annotations": {"summary": "CPU above 90 %"},
            "startsAt": "2026-11-23T06:39:31.435Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "d76ace51dbbb114a",
        }
    ],
}
# Not a declared parameter, because then the body would be parsed twice.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["version", "alerts"],
                    "properties": {
                        "version": {"const": "4"},
                        "alerts": {"type": "array", "items": {"type": "object"}},
                        "truncatedAlerts": {"type": "integer", "minimum": 0},
                    },
                },
                "example": _EXAMPLE,
            }
        },
    }
}


@router.post(
    PATH,
    openapi_extra=require_role(Role.WEBHOOK) | _BODY,
    responses=answers(
        DeliveryCounts, "The alerts are stored. The body has the number of alerts of each result."
    ),
)
async def deliver() -> None:
    """Accept a delivery of Alertmanager (webhook version 4). Each alert is counted once."""
    raise RuntimeError("unreachable: the application answers deliveries before its routes")
