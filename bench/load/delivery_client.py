"""Posts deliveries over kept-alive connections as fast as they are answered, and times each."""

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_ALERT = (
    b'{"status":"firing","labels":{"alertname":"HighCPU","severity":"warning","asg":"web-%03d",'
    b'"instance_id":"i-%017x","job":"node","region":"us-east-1"},"annotations":{"summary":'
    b'"CPU of a host is above 85 %% for ten minutes"},"startsAt":"2026-11-23T06:39:31.435Z",'
    b'"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus/graph?g0.expr=cpu",'
    b'"fingerprint":"%016x"}'
)
_GROUPS = 200


@dataclass(frozen=True, kw_only=True)
class Load:
    """What was answered within `seconds`; latencies in seconds, ascending."""

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
    """Numbers the alerts of all loads, so that none is a repeat."""

    last: int = 0

    def bodies(self, alerts: int) -> Iterator[bytes]:
        while True:
            numbers = range(self.last, self.last + alerts)
            self.last += alerts
            told = b",".join(_ALERT % (number % _GROUPS, number, number) for number in numbers)
            yield b'{"version":"4","status":"firing","alerts":[' + told + b"]}"


NUMBERS = _Counter()


@dataclass
class _Connection(asyncio.Protocol):
    """One request at a time. Answers have a Content-Length, as uvicorn's do."""

    head: bytes
    bodies: Iterator[bytes]
    latencies: list[float]
    done: asyncio.Event
    until: float = 0.0
    failed: int = 0
    _sent: float = 0.0
    _seen: bytearray = field(default_factory=bytearray)
    _transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 what asyncio hands over
        self._transport = transport
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
            self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.is_set():
            self.failed += 1
            self.done.set()

    def _send(self) -> None:
        body = next(self.bodies, None)
        if body is None:
            self.done.set()
            return
        self._sent = time.perf_counter()
        if self._transport is not None:
            self._transport.write(self.head + b"%d\r\n\r\n" % len(body) + body)


def load(  # noqa: PLR0913 each is one fact about the load, by name
    url: str,
    token: str,
    *,
    connections: int,
    alerts: int = 1,
    seconds: float = 0.0,
    bodies: Sequence[bytes] = (),
) -> Load:
    """Deliveries of so many alerts each, for about so many seconds; or just these `bodies`."""
    return asyncio.run(_load(url, token, connections, alerts, seconds, bodies))


async def _load(  # noqa: PLR0913, PLR0917 as `load`
    url: str,
    token: str,
    connections: int,
    alerts: int,
    seconds: float,
    bodies: Sequence[bytes],
) -> Load:
    parts = urlsplit(url)
    head = (
        f"POST /webhook/alertmanager HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()
    given = iter(bodies) if bodies else NUMBERS.bodies(alerts)
    latencies = list[float]()
    started = time.perf_counter()
    until = started + seconds if not bodies else float("inf")
    made = []
    for _ in range(connections):
        one = _Connection(head, given, latencies, asyncio.Event(), until=until)
        loop = asyncio.get_running_loop()
        host, port = parts.hostname or "", parts.port or 0
        transport, _ = await loop.create_connection(lambda one=one: one, host, port)  # type: ignore[misc] # the default binds it
        made.append((transport, one))
    for transport, one in made:
        await one.done.wait()
        transport.close()
    took = time.perf_counter() - started
    failed = sum(one.failed for _, one in made)
    return Load(seconds=took, latencies=sorted(latencies), failed=failed)
