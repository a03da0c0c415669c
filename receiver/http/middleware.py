"""What each request passes first: an id of its own, its client's limit, and the body's.

And what each answer gets: headers that keep a browser from making more of it than it is.
"""

import itertools
import os
import re
import time
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from fastapi import HTTPException, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.http.problems import problem
from receiver.http.rate_limit import Buckets, client_of

_log = structlog.get_logger()
_BODY_MAX = 64 * 1024
_QUERY_MAX = 8 * 1024
# So many seconds of the rate may come at once.
_BURST_S = 10.0
# A health check costs nothing, and must not fail over what else its address asks for.
_UNLIMITED = frozenset({"/healthz"})
ID = b"x-request-id"
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


Header = tuple[bytes, bytes]


class BodyTooLargeError(HTTPException):
    """More came than may come; `limit` in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


class Edge:
    """Around the application. The rate is in requests a second and client."""

    def __init__(self, app: ASGIApp, *, per_s: float) -> None:
        self._app = app
        self._buckets = buckets(per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await _Answer(self, scope, request_id).give(receive, send)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the application, unless a limit is in the way."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, _limited(receive), send)
            return
        status, detail, wait_s = refusal
        headers = {"Retry-After": str(int(wait_s) + 1)} if wait_s else None
        answer = problem(status, detail, headers, request_id=scope["state"]["request_id"])
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str, float] | None:
        if len(scope.get("query_string", b"")) > _QUERY_MAX:
            return HTTPStatus.REQUEST_URI_TOO_LONG, f"the query exceeds {_QUERY_MAX} bytes", 0.0
        if scope["path"] in _UNLIMITED:
            return None
        wait_s = self._buckets.wait_s(client_of(scope["client"][0] if scope.get("client") else ""))
        return (HTTPStatus.TOO_MANY_REQUESTS, "too many requests", wait_s) if wait_s else None


class _Answer:
    """One request's way, and the answer's way back."""

    def __init__(self, edge: Edge, scope: Scope, request_id: str) -> None:
        self._edge, self._scope, self._request_id = edge, scope, request_id
        self._started = False

    async def give(self, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._started = True
                message["headers"] = dressed(message["headers"], self._scope, self._request_id)
            await send(message)

        try:
            await self._edge.pass_on(self._scope, receive, sending)
        except Exception as error:
            answer = unforeseen(error, self._scope["path"], self._request_id)
            if self._started:
                raise
            await answer(self._scope, receive, sending)


def request_id_of(scope: Scope) -> str:
    """What the client calls its request, where that can be a name; otherwise one of our own."""
    asked = header_of(scope, ID)
    known = _REQUEST_ID.fullmatch(asked) is not None
    return asked.decode() if known else f"{_PREFIX}{next(_NUMBERS):08x}"


def header_of(scope: Scope, name: bytes) -> bytes:
    """The first header of that name (in lower case), empty where there is none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def dressed(own: Iterable[Header], scope: Scope, request_id: str) -> list[Header]:
    """The headers of an answer and those that each has; what it has itself, stays."""
    found = list(own)
    names = {name for name, _ in found}
    more = _HEADERS + _OVER_TLS if scope.get("scheme") == "https" else _HEADERS
    found += [header for header in more if header[0] not in names]
    return [*found, (ID, request_id.encode())]


def unforeseen(error: Exception, path: str, request_id: str) -> Response:
    """The answer where something broke that nobody thought of; the log has the rest."""
    _log.error("request_failed", path=path, error=type(error).__name__, exc_info=error)
    said = "an unforeseen error; the log has it under this request_id"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, said, request_id=request_id)


def buckets(per_s: float) -> Buckets:
    """What a client may ask for, in requests a second."""
    return Buckets(per_s=per_s, burst=max(1.0, per_s * _BURST_S), clock=time.monotonic)


def _limited(receive: Receive) -> Receive:
    """Stops reading a body at its limit, whatever length it claims to have."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > _BODY_MAX:
            raise BodyTooLargeError(_BODY_MAX)
        return message

    return limited
