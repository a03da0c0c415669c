"""Bounds TLS handshakes, which asyncio's servers neither count nor can close.

A server without TLS accepts the connections; `Handshake` adds the TLS to each. Its base class is
not documented, but the same in Python 3.11 to 3.14 (asyncio/sslproto.py).
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from uvicorn.server import ServerState

from receiver.http.connections import HANDSHAKE, Connections
from receiver.http.protocol import BoundedProtocol

# A client that does not answer a close within these seconds is cut off.
_CLOSE_S = 2.0


class Handshake(SSLProtocol):
    """The TLS of one connection, under the bounds of its server's `connections`."""

    # Bytes of the buffer that asyncio clears for each connection (256 KB by default): one record.
    max_size = 16 * 1024
    waits = True

    def __init__(
        self,
        *,
        connections: Connections,
        context: ssl.SSLContext,
        server_state: ServerState,
        **options: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._bounds = connections
        self._served = server_state.connections
        http = partial(
            BoundedProtocol, connections=connections, server_state=server_state, **options
        )
        super().__init__(
            self.loop,
            _Complete(self._leave, http),
            context,
            # Nobody waits for a handshake.
            waiter=cast("asyncio.Future[None]", None),
            server_side=True,
            ssl_shutdown_timeout=_CLOSE_S,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.due = self.loop.time() + self._bounds.head_s
        if not self._bounds.admit_handshake(self):
            self.transport.abort()
            return
        # uvicorn closes these at its shutdown.
        self._served.add(self)  # type: ignore[arg-type]
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def expire(self) -> None:
        """Close the connection because `due` has passed."""
        self._bounds.refused(HANDSHAKE)
        self.transport.abort()

    def shutdown(self) -> None:
        """Close the connection because the server stops."""
        self.transport.abort()

    def _leave(self) -> None:
        self._bounds.remove(self)
        self._served.discard(self)


@dataclass
class _Complete(asyncio.Protocol):
    """Makes the HTTP protocol of a connection once its handshake is complete."""

    leave: Callable[[], None]
    http: Callable[[], BoundedProtocol]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.leave()
        protocol = self.http()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
