"""Gives each request an id, limits its rate, query and body, and adds security headers."""

import itertools
import os
import re
import time
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from fastapi import HTTPException, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.http.access.rate_limit import RateLimiter, client_of
from receiver.http.problems import problem
from receiver.http.protocol import REQUEST_LINE_MAX

_log = structlog.get_logger()
_BODY_MAX = 64 * 1024
# The burst of a client, in seconds of its rate.
_BURST_S = 10.0
# Not rate-limited: health checks are cheap, and must not fail because of other requests from the
# same address.
_UNLIMITED = frozenset({"/healthz"})
ID = b"x-request-id"
# A random prefix of the process and a counter: random bytes for each request would cost more than
# the rest of this middleware.
_PREFIX, _NUMBERS = os.urandom(9).hex(), itertools.count()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
# Encoded once, because every response has them.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OVER_TLS = ((b"strict-transport-security", b"max-age=31536000"),)


Header = tuple[bytes, bytes]


class BodyTooLargeError(HTTPException):
    """The body exceeds `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


class RequestMiddleware:
    """The middleware; a client may send `per_s` requests per second."""

    def __init__(self, app: ASGIApp, *, per_s: float) -> None:
        self._app = app
        self._limiter = make_rate_limiter(per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await _Exchange(self, scope, request_id).run(receive, send)

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, or refuse a request that exceeds a limit."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, _limited(receive), send)
            return
        status, detail, wait_s = refusal
        headers = {"Retry-After": str(int(wait_s) + 1)} if wait_s else None
        answer = problem(status, detail, headers, request_id=scope["state"]["request_id"])
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str, float] | None:
        if len(scope["path"]) + len(scope.get("query_string", b"")) > REQUEST_LINE_MAX:
            detail = f"path and query exceed {REQUEST_LINE_MAX} bytes"
            return HTTPStatus.REQUEST_URI_TOO_LONG, detail, 0.0
        if scope["path"] in _UNLIMITED:
            return None
        wait_s = self._limiter.wait_s(client_of(scope["client"][0] if scope.get("client") else ""))
        return (HTTPStatus.TOO_MANY_REQUESTS, "too many requests", wait_s) if wait_s else None


class _Exchange:
    """One request and its response."""

    def __init__(self, middleware: RequestMiddleware, scope: Scope, request_id: str) -> None:
        self._middleware, self._scope, self._request_id = middleware, scope, request_id
        self._started = False

    async def run(self, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._started = True
                message["headers"] = with_headers(message["headers"], self._scope, self._request_id)
            await send(message)

        try:
            await self._middleware.forward(self._scope, receive, send_with_headers)
        except ClientDisconnect:
            # The client has disconnected, so nobody reads an answer.
            return
        except Exception as error:
            answer = internal_error(error, self._scope["path"], self._request_id)
            if self._started:
                raise
            await answer(self._scope, receive, send_with_headers)


def request_id_of(scope: Scope) -> str:
    """The client's id of the request if it is well-formed, else a new id."""
    client_id = header_of(scope, ID)
    if _REQUEST_ID.fullmatch(client_id):
        return client_id.decode()
    return f"{_PREFIX}{next(_NUMBERS):08x}"


def header_of(scope: Scope, name: bytes) -> bytes:
    """The first header with this name (in lower case), or empty bytes."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def with_headers(own: Iterable[Header], scope: Scope, request_id: str) -> list[Header]:
    """The headers of a response, with the security headers that it lacks."""
    headers = list(own)
    names = {name for name, _ in headers}
    defaults = _HEADERS + _OVER_TLS if scope.get("scheme") == "https" else _HEADERS
    headers += [header for header in defaults if header[0] not in names]
    return [*headers, (ID, request_id.encode())]


def internal_error(error: Exception, path: str, request_id: str) -> Response:
    """The response to an unexpected error, which is logged."""
    _log.error("request_failed", path=path, error=type(error).__name__, exc_info=error)
    detail = "an internal error; the log has its cause under this request_id"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, request_id=request_id)


def make_rate_limiter(per_s: float) -> RateLimiter:
    """A limiter of `per_s` requests per second for each client."""
    return RateLimiter(per_s=per_s, burst=max(1.0, per_s * _BURST_S), clock=time.monotonic)


def _limited(receive: Receive) -> Receive:
    """Raise BodyTooLargeError at the limit, independent of Content-Length."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _BODY_MAX:
            raise BodyTooLargeError(_BODY_MAX)
        return message

    return limited
