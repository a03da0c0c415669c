"""Bounds the number and the duration of one server's connections."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import structlog

_log = structlog.get_logger()
_SWEEP_S = 1.0
_REPORT_S = 60.0
# The share of connections that one search closes to make room, because a search reads them all.
_EVICTED_SHARE = 20
# The most unfinished TLS handshakes; each uses some 70 KB. A client completes its own before this
# many strangers have begun theirs.
_HANDSHAKES_MAX = 250
EVICTED = "evicted"
HANDSHAKE = "handshake"


class Connection(Protocol):
    """A connection; `due` is in the loop's time, `waits` is true without a request in progress."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    due: float

    @property
    def waits(self) -> bool: ...

    def expire(self) -> None: ...


@dataclass(eq=False)
class Connections:
    """The connections of one server.

    `most` bounds their number, `handshakes` those in a TLS handshake, and `head_s` the time for a
    handshake and for headers. `count` is called with the reason (`protocol.REASONS`) for each
    connection refused or closed.
    """

    most: int
    head_s: float = 10.0
    handshakes: int = _HANDSHAKES_MAX
    count: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        # Bytes of all unfinished heads.
        self.unfinished = 0
        self._open: set[Connection] = set()
        # In the order of their beginning.
        self._handshakes: dict[Connection, None] = {}
        self._refused: Counter[str] = Counter()
        self._report_at = self._swept_at = 0.0
        self._sweeping = False

    def admit(self, connection: Connection) -> bool:
        """Admit a connection, if necessary after closing idle ones. Returns False without room."""
        self._sweep_soon(connection.loop)
        if len(self._open) >= self.most and not self._evict():
            self.refused(str(int(HTTPStatus.SERVICE_UNAVAILABLE)))
            return False
        self._open.add(connection)
        return True

    def admit_handshake(self, connection: Connection) -> bool:
        """Admit a connection as `admit`, if necessary after closing the oldest handshake."""
        if len(self._handshakes) >= self.handshakes:
            self._close(next(iter(self._handshakes)))
        admitted = self.admit(connection)
        if admitted:
            self._handshakes[connection] = None
        return admitted

    def remove(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._handshakes.pop(connection, None)

    def refused(self, reason: str) -> None:
        self._refused[reason] += 1
        self.count(reason)

    def _evict(self) -> bool:
        waiting = sorted(
            (connection for connection in self._open if connection.waits),
            key=lambda connection: connection.due,
        )
        for connection in waiting[: max(1, self.most // _EVICTED_SHARE)]:
            self._close(connection)
        return bool(waiting)

    def _close(self, connection: Connection) -> None:
        self.refused(EVICTED)
        self.remove(connection)
        connection.transport.abort()

    def _sweep_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._sweeping:
            self._sweeping, self._swept_at = True, loop.time()
            loop.call_later(_SWEEP_S, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close overdue connections, except after a standstill of the loop: bytes may be unread."""
        now = loop.time()
        if now - self._swept_at < 2 * _SWEEP_S:
            overdue = [connection for connection in self._open if connection.due < now]
            for connection in overdue:
                connection.expire()
        if self._refused and now >= self._report_at:
            _log.warning("connections_refused", open=len(self._open), **self._refused)
            self._refused.clear()
            self._report_at = now + _REPORT_S
        self._sweeping = False
        if self._open or self._refused:
            self._sweep_soon(loop)
