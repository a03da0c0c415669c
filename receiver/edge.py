"""What each request passes first: an id of its own, its client's limit, and the body's.

And what each answer gets: headers that keep a browser from making more of it than it is.
"""

import re
import time
from http import HTTPStatus

import structlog
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from receiver.problems import problem
from receiver.rate_limits import Buckets, client_of

_log = structlog.get_logger()
WEBHOOK_BODY_MAX = 16 * 1024 * 1024
_BODY_MAX = 64 * 1024
_QUERY_MAX = 8 * 1024
# So many seconds of the rate may come at once.
_BURST_S = 10.0
# A health check costs nothing, and must not fail over what else its address asks for.
_UNLIMITED = frozenset({"/healthz"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OVER_TLS = {"Strict-Transport-Security": "max-age=31536000"}


class BodyTooLargeError(HTTPException):
    """More came than may come; `limit` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


class Edge:
    """Around the whole application. Rates are in requests a second and client."""

    def __init__(self, app: ASGIApp, *, per_s: float, webhook_per_s: float) -> None:
        self._app = app
        self._buckets = _buckets(per_s)
        self._webhook_buckets = _buckets(webhook_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else str(ULID())
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await _Answer(self, scope, request_id).give(receive, send)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the application, unless a limit is in the way."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, _limited(scope["path"], receive), send)
            return
        status, detail, wait_s = refusal
        headers = {"Retry-After": str(int(wait_s) + 1)} if wait_s else None
        answer = problem(status, detail, headers, request_id=scope["state"]["request_id"])
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str, float] | None:
        if len(scope.get("query_string", b"")) > _QUERY_MAX:
            return HTTPStatus.REQUEST_URI_TOO_LONG, f"the query exceeds {_QUERY_MAX} bytes", 0.0
        path = scope["path"]
        if path in _UNLIMITED:
            return None
        client = client_of(scope["client"][0] if scope.get("client") else "")
        if not path.startswith("/webhook/"):
            wait_s = self._buckets.wait_s(client)
            return (HTTPStatus.TOO_MANY_REQUESTS, "too many requests", wait_s) if wait_s else None
        wait_s = self._webhook_buckets.wait_s(client)
        if not wait_s:
            return None
        scope["app"].state.system.metrics.webhook_rejected.labels(503).inc()
        # Alertmanager tries again after this, and gives up what it is told 429 about.
        return HTTPStatus.SERVICE_UNAVAILABLE, "too many deliveries at once", wait_s


class _Answer:
    """One request's way, and the answer's way back."""

    def __init__(self, edge: Edge, scope: Scope, request_id: str) -> None:
        self._edge, self._scope, self._request_id = edge, scope, request_id
        self._started = False

    async def give(self, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._started = True
                self._dress(MutableHeaders(scope=message))
            await send(message)

        try:
            await self._edge.pass_on(self._scope, receive, sending)
        except Exception as error:
            _log.exception("request_failed", path=self._scope["path"], error=type(error).__name__)
            if self._started:
                raise
            said = "an unforeseen error; the log has it under this request_id"
            answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, said, request_id=self._request_id)
            await answer(self._scope, receive, sending)

    def _dress(self, headers: MutableHeaders) -> None:
        headers["X-Request-ID"] = self._request_id
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self._scope.get("scheme") == "https":
            for name, value in _OVER_TLS.items():
                headers.setdefault(name, value)


def _buckets(per_s: float) -> Buckets:
    return Buckets(per_s=per_s, burst=max(1.0, per_s * _BURST_S), clock=time.monotonic)


def _limited(path: str, receive: Receive) -> Receive:
    """Stops reading a body at its limit, whatever length it claims to have."""
    limit = WEBHOOK_BODY_MAX if path.startswith("/webhook/") else _BODY_MAX
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise BodyTooLargeError(limit)
        return message

    return limited
