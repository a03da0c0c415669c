"""Posts deliveries over keep-alive connections, one at a time on each, and times the answers."""

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

_ALERT = (
    b'{"status":"firing","labels":{"alertname":"HighCPU","severity":"warning","asg":"web-%03d",'
    b'"instance_id":"i-%017x","job":"node","region":"us-east-1"},"annotations":{"summary":'
    b'"CPU of a host is above 85 %% for ten minutes"},"startsAt":"2026-11-23T06:39:31.435Z",'
    b'"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus/graph?g0.expr=cpu",'
    b'"fingerprint":"%016x"}'
)
_GROUPS = 200
# Knuth's multiplicative hash, so that fingerprints are spread as Alertmanager's are.
_SPREAD, _FINGERPRINTS = 0x9E3779B97F4A7C15, 2**64


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """The result of a load of `seconds`; latencies in seconds, ascending."""

    seconds: float
    latencies: Sequence[float]
    failed: int

    @property
    def per_s(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]

    @property
    def p50(self) -> float:
        return statistics.median(self.latencies)


@dataclass
class _Counter:
    """Numbers the alerts of all loads, so that no two are equal."""

    last: int = 0

    def bodies(self, alerts: int) -> Iterator[bytes]:
        while True:
            numbers = range(self.last, self.last + alerts)
            self.last += alerts
            listed = b",".join(
                _ALERT % (number % _GROUPS, number, number * _SPREAD % _FINGERPRINTS)
                for number in numbers
            )
            yield b'{"version":"4","status":"firing","alerts":[' + listed + b"]}"


NUMBERS = _Counter()


@dataclass
class _Connection(asyncio.Protocol):
    """A connection with one request at a time; it needs answers with a Content-Length."""

    head: bytes
    bodies: Iterator[bytes]
    latencies: list[float]
    ended: asyncio.Event
    until: float = 0.0
    failed: int = 0
    _sent: float = 0.0
    _seen: bytearray = field(default_factory=bytearray)
    _transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._seen[:end]).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(self._seen) < end + 4 + length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        self.failed += not head.startswith(b"http/1.1 2")
        self._seen.clear()
        if now < self.until:
            self._send()
        else:
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.ended.is_set():
            self.failed += 1
            self.ended.set()

    def _send(self) -> None:
        body = next(self.bodies, None)
        if body is None:
            self.ended.set()
            return
        self._sent = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self.head + b"%d\r\n\r\n" % len(body) + body)


@dataclass(frozen=True, kw_only=True)
class LoadSpec:
    """Deliveries of `alerts` each for about `seconds`; or each of `bodies` once, if given."""

    connections: int
    alerts: int = 1
    seconds: float = 0.0
    bodies: Sequence[bytes] = ()


def run_load(url: str, token: str, spec: LoadSpec) -> LoadResult:
    """Send the load to the receiver at `url`."""
    return asyncio.run(_run(url, token, spec))


async def _run(url: str, token: str, spec: LoadSpec) -> LoadResult:
    parts = urlsplit(url)
    head = (
        f"POST /webhook/alertmanager HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()
    bodies = iter(spec.bodies) if spec.bodies else NUMBERS.bodies(spec.alerts)
    latencies = list[float]()
    started = time.perf_counter()
    until = started + spec.seconds if not spec.bodies else float("inf")
    connections = []
    for _ in range(spec.connections):
        connection = _Connection(head, bodies, latencies, asyncio.Event(), until=until)
        loop = asyncio.get_running_loop()
        host, port = parts.hostname or "", parts.port or 0
        transport, _ = await loop.create_connection(lambda each=connection: each, host, port)  # type: ignore[misc] # the default argument binds the loop variable
        connections.append((transport, connection))
    for transport, connection in connections:
        await connection.ended.wait()
        transport.close()
    took = time.perf_counter() - started
    failed = sum(connection.failed for _, connection in connections)
    return LoadResult(seconds=took, latencies=sorted(latencies), failed=failed)
