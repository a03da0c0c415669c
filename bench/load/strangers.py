"""Strangers without a token: silent connections, endless requests and long paths."""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx

_BLOCK = 64 * 1024
# Connections that send without end, each once in `_PAUSE_S`.
_POURING, _PAUSE_S = 8, 0.2
_LONG_PATH, _LONG_PATH_EVERY_S = b"GET /api/v1/runs/" + b"a." * 20_000 + b" HTTP/1.1\r\n\r\n", 1.0
_HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
_ENDLESS = (
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"X-000001: a\r\n"),
    (b"GET /", b"a."),
    (b"POST /webhook/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n", b"x"),
    (b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
)
_PROBE_EVERY_S = 0.25


@dataclass
class Strangers:
    """Inside the block, `connections` are open or opened again, and up to `megabytes` are sent."""

    url: str
    connections: int
    megabytes: int
    sent: int = field(default=0, init=False)
    opened: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._load()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _load(self) -> None:
        tasks = [asyncio.create_task(self._hold()) for _ in range(self.connections)]
        tasks += [asyncio.create_task(self._pour(number)) for number in range(_POURING)]
        tasks.append(asyncio.create_task(self._ask_long_path()))
        await asyncio.to_thread(self._over.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hold(self) -> None:
        """Keep half a request open, and connect again when the service closes it."""
        while True:
            with suppress(OSError):
                await self._exchange(_HALF_HEAD)
            await asyncio.sleep(1)

    async def _pour(self, number: int) -> None:
        while self.sent < self.megabytes * 2**20:
            start, more = _ENDLESS[number % len(_ENDLESS)]
            number += 1
            with suppress(OSError):
                await self._exchange(start, more * (_BLOCK // len(more)))
            await asyncio.sleep(_PAUSE_S)

    async def _ask_long_path(self) -> None:
        while True:
            with suppress(OSError):
                await self._exchange(_LONG_PATH)
            await asyncio.sleep(_LONG_PATH_EVERY_S)

    async def _exchange(self, start: bytes, more: bytes = b"") -> None:
        """Send `start`, then `more` until the service closes or all megabytes are sent."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        self.opened += 1
        try:
            writer.write(start)
            while more and self.sent < self.megabytes * 2**20:
                writer.write(more)
                await writer.drain()
                self.sent += len(more)
                await asyncio.sleep(_PAUSE_S)
            await reader.read()
        finally:
            writer.close()


@dataclass
class Probe:
    """Inside the block, asks for /healthz in a new connection each time, as a load balancer."""

    url: str
    pid: int
    slowest_s: float = field(default=0.0, init=False)
    asked: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_PROBE_EVERY_S):
            began = time.monotonic()
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False, timeout=30).raise_for_status()
            except httpx.HTTPError:
                self.failed += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.asked += 1

    def peak_mb(self) -> float:
        """The highest resident memory of the process since its start."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
