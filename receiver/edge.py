"""What each request passes first: an id of its own, its client's limit, and the body's.

And what each answer gets: headers that keep a browser from making more of it than it is.
"""

import itertools
import os
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

import structlog
from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_ID = b"x-request-id"
# Of this process, and then counted: asking the kernel for each costs more than the rest of this.
_PREFIX, _NUMBERS = os.urandom(9).hex(), itertools.count()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
# As they stand on the wire: every delivery pays for this.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OVER_TLS = ((b"strict-transport-security", b"max-age=31536000"),)


class BodyTooLargeError(HTTPException):
    """More came than may come; `limit` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


class Edge:
    """Around the whole application. Rates are in requests a second and client.

    `direct` are paths that are answered right here when they are posted to.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_s: float,
        webhook_per_s: float,
        direct: Mapping[str, ASGIApp] = MappingProxyType({}),
    ) -> None:
        self._app, self._direct = app, direct
        self._buckets = _buckets(per_s)
        self._webhook_buckets = _buckets(webhook_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = next((value for name, value in scope["headers"] if name == _ID), b"")
        known = _REQUEST_ID.fullmatch(asked) is not None
        request_id = asked.decode() if known else f"{_PREFIX}{next(_NUMBERS):08x}"
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await _Answer(self, scope, request_id).give(receive, send)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the application, unless a limit is in the way."""
        refusal = self._refusal(scope)
        if refusal is None:
            app = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
            await (app or self._app)(scope, _limited(scope["path"], receive), send)
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
                self._dress(message)
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

    def _dress(self, message: Message) -> None:
        """What the answer has itself, stays."""
        own = list(message["headers"])
        names = {name for name, _ in own}
        more = _HEADERS + _OVER_TLS if self._scope.get("scheme") == "https" else _HEADERS
        own += [header for header in more if header[0] not in names]
        message["headers"] = [*own, (_ID, self._request_id.encode())]


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
