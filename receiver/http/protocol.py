"""Bounds a connection before the application, or any other code, sees its request.

uvicorn's httptools protocol limits neither the request line nor the headers, nor the time for them
(uvicorn/protocols/http/httptools_impl.py, 0.54), so this protocol counts the bytes that go into the
parser. To keep deliveries cheap, no callback runs for each header and no timer for each request.
"""

import asyncio
import math
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.http.connections import EVICTED, HANDSHAKE, Connections
from receiver.http.problems import MEDIA_TYPE, problem

REQUEST_LINE_MAX = 8 * 1024
HEAD_MAX = 32 * 1024
# The number is limited, because 32 KB of the shortest headers would make a megabyte of objects.
HEADERS_MAX = 100
# Bytes of all unfinished heads; above this total only small heads may be unfinished.
_UNFINISHED_MAX = 4 * 1024 * 1024
_SMALL_HEAD = 4 * 1024
# The least rate of a body: a delivery of 16 MB has five minutes, a form of 64 KB has 12 s.
_BODY_BYTES_PER_S = 50_000
# The most requests of a connection that wait for the answer to an earlier one.
_PIPELINE_MAX = 16
# Bytes read and dropped after a refusal, so that the client gets the answer and not a reset.
_DRAIN_S, _DRAIN_MAX = 2.0, 1024 * 1024

# Headers of an offer of another protocol.
_OFFER = frozenset({b"connection", b"upgrade", b"http2-settings"})

_DETAILS = {
    HTTPStatus.BAD_REQUEST: "the request is not valid HTTP",
    HTTPStatus.REQUEST_TIMEOUT: "the request did not arrive in time",
    HTTPStatus.REQUEST_URI_TOO_LONG: f"the request line exceeds {REQUEST_LINE_MAX} bytes",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        f"the headers exceed {HEAD_MAX} bytes or {HEADERS_MAX} in number"
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: "too many connections",
}
REASONS = (EVICTED, HANDSHAKE, *(str(int(status)) for status in _DETAILS))


class _OverLimitError(Exception):
    """Stops the parser in the middle of a request."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection, under the bounds of its server's `connections`."""

    def __init__(self, *, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self.url, self.headers = b"", []
        self._bounds = connections
        # Bytes that may still arrive before the head must be complete, or the body continue.
        self._left = HEAD_MAX
        self._unfinished = self._drained = 0
        self._fault = HTTPStatus.BAD_REQUEST
        # Whether the request that is parsed offers another protocol.
        self._refused = self._offered = False
        # The deadline of the head or the body, in the loop's time.
        self.due = math.inf

    @property
    def waits(self) -> bool:
        """Whether no request of the connection is in progress."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if not self._bounds.admit(self):
            self._refused = True
            self.transport.write(_ANSWERS[HTTPStatus.SERVICE_UNAVAILABLE])
            self.transport.close()
            return
        super().connection_made(self.transport)
        self.due = self.loop.time() + self._bounds.head_s

    def connection_lost(self, exc: Exception | None) -> None:
        self._bounds.remove(self)
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drain(len(data))
            return
        self._unset_keepalive_if_required()
        if self.due == math.inf:
            self.due = self.loop.time() + self._bounds.head_s
        while data and not self._refused:
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            self._feed(part)
            if self._left != HEAD_MAX or self._unfinished:
                self._check_unfinished()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Other upgrades are CONNECT requests, which were answered as ordinary ones.
            if self._offered:
                self._decline_offer(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._fault)

    def _decline_offer(self, rest: bytes) -> None:
        """Parse the request, of which `rest` follows the head, as if it offered no upgrade.

        A server may ignore an offer: https://www.rfc-editor.org/rfc/rfc9110#section-7.8. The parser
        would take the body for the other protocol.
        """
        self._offered = False
        version = self.parser.get_http_version().encode()
        head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        head += [b"%s: %s" % header for header in self.headers if header[0] not in _OFFER]
        if not self.parser.should_keep_alive():
            head.append(b"connection: close")
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*head, b"", rest]))

    def _check_unfinished(self) -> None:
        """Bound unfinished parts: trailers and endless chunk extensions have no callback."""
        if self._refused:
            return
        unfinished = HEAD_MAX - self._left
        self._bounds.unfinished += unfinished - self._unfinished
        self._unfinished = unfinished
        crowded = self._bounds.unfinished > _UNFINISHED_MAX and unfinished > _SMALL_HEAD
        if unfinished and (crowded or not self._left or self._is_over()):
            self._refuse(self._fault_of_head())

    def _is_over(self) -> bool:
        return len(self.url) > REQUEST_LINE_MAX or len(self.headers) > HEADERS_MAX

    def _fault_of_head(self) -> HTTPStatus:
        if len(self.url) > REQUEST_LINE_MAX:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    def on_headers_complete(self) -> None:
        if self._is_over() or len(self.pipeline) >= _PIPELINE_MAX:
            self._fault = (
                self._fault_of_head() if self._is_over() else HTTPStatus.SERVICE_UNAVAILABLE
            )
            raise _OverLimitError
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offered = True
            return
        self._left = HEAD_MAX
        self.due += self._bounds.head_s
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._left = HEAD_MAX
        self.due += len(body) / _BODY_BYTES_PER_S
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offered:
            return
        self.due = math.inf
        super().on_message_complete()

    def expire(self) -> None:
        """Close the connection because `due` has passed."""
        if self._refused:
            self.transport.abort()
        elif not self.waits and not self.cycle.more_body:
            # The next request is late, while the previous one is still being answered.
            self.due += self._bounds.head_s
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _forget(self) -> None:
        """Free the data of an unfinished request; the parser is not used again."""
        self._bounds.unfinished -= self._unfinished
        self._unfinished = 0
        self.url, self.headers = b"", []
        self.parser = None  # type: ignore[assignment] # as uvicorn does at the end

    def _refuse(self, status: HTTPStatus) -> None:
        self._refused = True
        self._forget()
        self._bounds.refused(str(int(status)))
        if not self.waits or not self.transport.can_write_eof():
            # The client would take an answer for that to its previous request; TLS has no half
            # close.
            if self.waits:
                self.transport.write(_ANSWERS[status])
            self.transport.close()
            return
        self.transport.write(_ANSWERS[status])
        self.transport.write_eof()
        self.due = self.loop.time() + _DRAIN_S

    def _drain(self, length: int) -> None:
        self._drained += length
        if self._drained > _DRAIN_MAX:
            self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: strangers could fill the log."""


def _answer(status: HTTPStatus) -> bytes:
    body = bytes(problem(status, _DETAILS[status]).body)
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_ANSWERS = {status: _answer(status) for status in _DETAILS}
