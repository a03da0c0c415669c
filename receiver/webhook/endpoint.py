"""Alertmanager's deliveries: on disk before they are acknowledged, acted on later.

Answered before the application and its routes: in a storm these would cost more than the storing.
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
# Above this, taking a body apart would hold up every other request for too long.
_SMALL = 64 * 1024
# Longer than the database itself may take to say that it cannot.
_STORED_S = 12.0
_COUNTS = b'{"accepted": %d, "duplicates": %d, "resolved": %d, "rejected": %d}'
# What a browser would be told besides costs each delivery, and no browser delivers.
_JSON = (b"content-type", b"application/json")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


class DeliveryCounts(BaseModel):
    """Each alert is counted once: new and firing, a duplicate, resolved, or rejected."""

    accepted: int
    duplicates: int
    resolved: int
    rejected: int


class _GoneError(Exception):
    """Whoever was sending has hung up."""


@dataclass(kw_only=True)
class Deliveries:
    """An ASGI application for one path. `per_s` is a client's rate of deliveries."""

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
        # Each request has a task, and so a context, of its own.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            status, body = 200, await self._answer(scope, receive, request_id)
            length = (b"content-length", b"%d" % len(body))
            headers = [_JSON, _NO_SNIFFING, length, (ID, request_id.encode())]
        except _GoneError:
            # Nobody hears an answer.
            return
        except Exception as error:  # noqa: BLE001 the sender is told, and tries again
            refused = _refused(error, request_id)
            self.metrics.rejected.labels(refused.status_code).inc()
            status, body = refused.status_code, bytes(refused.body)
            headers = with_headers(refused.raw_headers, scope, request_id)
        finally:
            self.metrics.duration.observe(time.perf_counter() - started)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> bytes:
        address = scope["client"][0] if scope.get("client") else ""
        if wait_s := self._limiter.wait_s(client_of(address)):
            # Alertmanager tries again after 503, and gives up what it is told 429 about.
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many deliveries at once",
                {"Retry-After": str(int(wait_s) + 1)},
            )
        given = header_of(scope, b"authorization").decode("latin-1")
        check_role(self.tokens, given, Role.WEBHOOK, address, PATH)
        now = self.clock()
        envelope, taken, rejected = await _read(receive, now)
        receipt = await self._stored(taken, now, request_id)
        self._firing.inc(receipt.accepted + receipt.duplicates)
        if receipt.resolved:
            self._resolved.inc(receipt.resolved)
        if receipt.duplicates:
            self.metrics.alerts_duplicate.inc(receipt.duplicates)
        if envelope.truncated:
            self.metrics.alerts_truncated.inc(envelope.truncated)
            self.truncated.fetch(envelope)
        return _COUNTS % (receipt.accepted, receipt.duplicates, receipt.resolved, rejected)

    async def _stored(self, taken: Sequence[Alert], now: float, request_id: str) -> Receipt:
        try:
            async with asyncio.timeout(_STORED_S):
                return await self.inbox.store(taken, now, request_id=request_id)
        except InboxUnavailableError as error:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        except TimeoutError:
            # If they are stored later after all, the next delivery of them is a repeat.
            late = f"not stored within {_STORED_S:.0f} s"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, late) from None


def _refused(error: Exception, request_id: str) -> Response:
    """Whatever broke, the sender is told, and tries again where that may help."""
    if isinstance(error, HTTPException):
        _log.warning("delivery_rejected", status=int(error.status_code), why=error.detail)
        headers = dict(error.headers or {})
        return problem(error.status_code, error.detail, headers, request_id=request_id)
    return internal_error(error, PATH, request_id)


async def _read(receive: Receive, now: float) -> tuple[Envelope, Sequence[Alert], int]:
    body = await _body(receive)
    try:
        if len(body) < _SMALL:
            return _apart(body, now)
        return await asyncio.to_thread(_apart, body, now)
    except NotJsonError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
    except NotVersion4Error as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > BODY_MAX:
            raise BodyTooLargeError(BODY_MAX)
        more = message.get("more_body", False)
    return body


def _apart(body: bytes, now: float) -> tuple[Envelope, Sequence[Alert], int]:
    """The envelope, emptied, its alerts, and how many had nothing to be known by."""
    envelope = payload.envelope(body)
    found = [payload.alert(raw, now) for raw in envelope.alerts]
    # Of ten thousand alerts this is more than all else that is kept while they are stored.
    envelope.alerts.clear()
    taken = [alert for alert in found if alert is not None]
    return envelope, taken, len(found) - len(taken)


# The webhook in the OpenAPI document. `Deliveries` answers it, before the routes.
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
# Read by hand: as a declared parameter the body would be taken apart twice.
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
    responses=answers(DeliveryCounts, "On disk; how many of each kind."),
)
async def deliver() -> None:
    """Take a delivery of Alertmanager (webhook version 4). Each alert is counted once."""
    raise RuntimeError("the application answers deliveries before its routes are asked")
