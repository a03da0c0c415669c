"""Deliveries of alerts, stored on disk before they are acknowledged.

They bypass middlewares and routes, which would cost more than storing them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from fastapi import HTTPException, Response
from starlette.types import Receive, Scope, Send

from receiver.http.access.rate_limit import RateLimiter, client_of
from receiver.http.middleware import (
    ID,
    BodyTooLargeError,
    header_of,
    internal_error,
    make_rate_limiter,
    request_id_of,
    with_headers,
)
from receiver.http.problems import problem
from receiver.webhook.delivery import InboxUnavailableError, Receipt
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import Alert, NotJsonError, WrongShapeError
from receiver.webhook.senders import Batch, Sender
from receiver.webhook.truncated import Truncated

_log = structlog.get_logger()
# Longer than the database's own timeouts, so that the sender gets their errors.
_STORE_TIMEOUT_S = 12.0
_COUNTS = b'{"accepted": %d, "duplicates": %d, "resolved": %d, "rejected": %d}'
# Security headers are left out: they would cost time, and only browsers use them.
_JSON = (b"content-type", b"application/json")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


class _DisconnectedError(Exception):
    """The client disconnected."""


@dataclass(kw_only=True)
class Deliveries:
    """An ASGI application for one sender; it allows a client `per_s` deliveries per second."""

    sender: Sender
    inbox: Inbox
    truncated: Truncated
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
            refusal = _error_response(error, self.sender.path, request_id)
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
        self.sender.admit(authorization, address)
        now = self.clock()
        batch = await self._read(receive, now)
        receipt = await self._store(batch.alerts, now, request_id)
        if batch.after is not None:
            await asyncio.to_thread(batch.after)
        return _COUNTS % self._count(batch, receipt)

    def _count(self, batch: Batch, receipt: Receipt) -> tuple[int, int, int, int]:
        duplicates = receipt.duplicates + batch.duplicates
        self._firing.inc(receipt.accepted + duplicates)
        if receipt.resolved:
            self._resolved.inc(receipt.resolved)
        if duplicates:
            self.metrics.alerts_duplicate.inc(duplicates)
        if batch.envelope is not None and batch.envelope.truncated:
            self.metrics.alerts_truncated.inc(batch.envelope.truncated)
            self.truncated.fetch(batch.envelope, fires=receipt.accepted + receipt.duplicates > 0)
        return receipt.accepted, duplicates, receipt.resolved, batch.rejected

    async def _read(self, receive: Receive, now: float) -> Batch:
        body = await _read_body(receive, self.sender.body_max)
        try:
            if len(body) < self.sender.thread_from:
                return self.sender.read(body, now)
            return await asyncio.to_thread(self.sender.read, body, now)
        except NotJsonError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
        except WrongShapeError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None

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


def _error_response(error: Exception, path: str, request_id: str) -> Response:
    """The response to any error; Alertmanager retries after a 5xx."""
    if isinstance(error, HTTPException):
        _log.warning("delivery_rejected", status=int(error.status_code), reason=error.detail)
        headers = dict(error.headers or {})
        return problem(error.status_code, error.detail, headers, request_id=request_id)
    return internal_error(error, path, request_id)


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _DisconnectedError
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise BodyTooLargeError(max_bytes)
        more = message.get("more_body", False)
    return body
