"""A TCP connection that can be cut, between a receiver and its database."""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

_CHUNK = 65_536


@dataclass
class Wire:
    """A TCP connection to the database that can be cut: no byte passes, no socket closes."""

    to: tuple[str, int]
    port: int = field(init=False)
    _whole: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def restore(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._whole.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._whole.wait()
                try:
                    far = socket.create_connection(self.to)
                except OSError:
                    near.close()
                    continue
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
