"""The service of a machine: HTTP with a few workers, a cache, a log and a file of records.

Every request takes CPU, reads or fills the cache, and is written to the disk; a disk that is full
fails it. SIGUSR1 makes it leak memory, SIGUSR2 makes it answer wrongly: two bugs to be switched on.
"""

import hashlib
import mmap
import os
import queue
import signal
import socket
import threading
import time
from collections import OrderedDict
from pathlib import Path

_WORKERS, _BACKLOG = 4, 64
_CACHE_MAX = 256
_ROUNDS = 1_500
# A report takes that much time of the processor, however fast it is, and is so many times as long.
_REPORT_S, _REPORT_LINES = 0.1, 64
_LEAK_BYTES, _LEAK_EVERY_S = 1 << 20, 0.1
# The share of the memory at which a leak stops: the kernel kills nothing yet.
_LEFT = 0.08
_LOG_MAX = 4 << 20
# Of the latest request in the mean latency.
_WEIGHT = 0.1
_OK = 200
_FOR_EVER_S = 1e9
_DATA = Path("/data")


class Service:
    """Counts what it answers, as `service_requests_total` and `service_errors_total`."""

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self.latency_s = 0.0
        self.wrong = threading.Event()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._leaked: list[mmap.mmap] = []
        self._lock, self._reporting = threading.Lock(), threading.Lock()
        self._connections: queue.Queue[socket.socket] = queue.Queue(_BACKLOG)
        self._log = _DATA / "log/service.log"

    def serve(self, port: int) -> None:
        """For ever. A connection that finds all workers busy and no room is closed."""
        for folder in ("log", "records"):
            (_DATA / folder).mkdir(exist_ok=True)
        for _ in range(_WORKERS):
            threading.Thread(target=self._work, daemon=True).start()
        with socket.create_server(("", port), backlog=_BACKLOG) as listener:
            while True:
                connection, _ = listener.accept()
                try:
                    self._connections.put_nowait(connection)
                except queue.Full:
                    connection.close()

    def leak(self) -> None:
        """Take memory that is never given back, 10 MB a second, until little is left.

        The kernel fills each piece at once, since a fault for each page takes the processor.
        """
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        while _available() > _LEFT:
            self._leaked.append(mmap.mmap(-1, _LEAK_BYTES, flags=flags))
            time.sleep(_LEAK_EVERY_S)

    def _work(self) -> None:
        while True:
            connection = self._connections.get()
            with connection:
                try:
                    connection.settimeout(5)
                    self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection: socket.socket) -> None:
        began = time.monotonic()
        line = connection.recv(4096).split(b"\r\n")[0].decode("latin-1").split()
        path = line[1] if len(line) > 1 else "/"
        if path == "/metrics":
            _send(connection, 200, self._metrics())
            return
        if path == "/health":
            _send(connection, 500 if self.wrong.is_set() else 200, "ok\n")
            return
        if path.startswith("/hold/"):
            # A caller that keeps a worker for so many seconds, as a slow database does.
            time.sleep(min(float(path.rpartition("/")[2]), 600))
        status = _OK
        try:
            body = self._report(path) if path.startswith("/report/") else self._compute(path)
            self._record(path, body)
        except OSError:
            status, body = 507, b"no space\n"
        if self.wrong.is_set():
            status = 500
        _send(connection, status, body.hex() + "\n")
        with self._lock:
            self.requests += status == _OK
            self.errors += status != _OK
            self.latency_s += _WEIGHT * (time.monotonic() - began - self.latency_s)

    def _compute(self, path: str) -> bytes:
        with self._lock:
            found = self._cache.get(path)
        # A cached answer still has to be rendered: half of the work.
        rounds = _ROUNDS // 2 if found else _ROUNDS
        body = hashlib.pbkdf2_hmac("sha256", path.encode(), b"salt", rounds)
        with self._lock:
            self._cache[path] = body
            while len(self._cache) > _CACHE_MAX:
                self._cache.popitem(last=False)
        return body

    def _report(self, path: str) -> bytes:
        """One at a time, so that a machine writes ten in a second at most."""
        with self._reporting:
            until = time.monotonic() + _REPORT_S
            while time.monotonic() < until:
                line = hashlib.pbkdf2_hmac("sha256", path.encode(), b"salt", _ROUNDS)
        return line * _REPORT_LINES

    def _record(self, path: str, body: bytes) -> None:
        """Log the request, and rotate the log; raises OSError when the disk is full."""
        with self._lock, self._log.open("ab", buffering=0) as log:
            if log.tell() > _LOG_MAX:
                self._log.replace(self._log.with_suffix(".log.1"))
            log.write(f"{time.time():.3f} {path} {body.hex()}\n".encode())

    def _metrics(self) -> str:
        with self._lock:
            return (
                f"service_requests_total {self.requests}\n"
                f"service_errors_total {self.errors}\n"
                f"service_latency_seconds {self.latency_s:.6f}\n"
            )


def _available() -> float:
    """The share of the machine's memory that is available."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: float(line.split()[1]) for line in lines}
    return sizes["MemAvailable"] / sizes["MemTotal"]


def _send(connection: socket.socket, status: int, body: str | bytes) -> None:
    raw = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + raw)


def main() -> None:
    service = Service()
    signal.signal(
        signal.SIGUSR1, lambda *_: threading.Thread(target=service.leak, daemon=True).start()
    )
    signal.signal(signal.SIGUSR2, lambda *_: service.wrong.set())
    if "BROKEN" in os.environ:
        # A version that waits for something at its start, for ever.
        time.sleep(_FOR_EVER_S)
    service.serve(8080)


if __name__ == "__main__":
    main()
