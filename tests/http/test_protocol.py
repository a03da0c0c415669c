"""Bounds on what strangers send, before anything looks at it."""

import asyncio
import json
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import structlog
import uvicorn
from starlette.types import Receive, Scope, Send

from receiver.http import server as serving
from receiver.http.connections import EVICTED, Connections
from receiver.http.protocol import (
    HEAD_MAX,
    HEADERS_MAX,
    REQUEST_LINE_MAX,
    BoundedProtocol,
)
from receiver.settings import Settings

_HEAD_S = 1.0
_GET = b"GET /x HTTP/1.1\r\nHost: h\r\n"


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body; refuses `/early` before it reads one."""
    length, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % length
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class _Server:
    """A real server of the small application, with few connections and little time."""

    port: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    connections: Connections = field(default_factory=lambda: Connections(1))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def ask(self, request: bytes) -> bytes:
        """All that is answered until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return _read(client)


@contextmanager
def _serve(most: int = 50, head_s: float = _HEAD_S) -> Iterator[_Server]:
    listening = _Server()
    listening.connections = Connections(
        most, head_s=head_s, count=lambda reason: listening.refused.update([reason])
    )
    options = serving.options(Settings()) | {
        "port": 0,
        "http": partial(BoundedProtocol, connections=listening.connections),
        "lifespan": "off",
    }
    server = uvicorn.Server(uvicorn.Config(_application, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _wait(lambda: server.started)
        listening.port = server.servers[0].sockets[0].getsockname()[1]
        yield listening
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    with _serve() as server:
        yield server


def _wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def _read(client: socket.socket) -> bytes:
    answer = b""
    try:
        while data := client.recv(65536):
            answer += data
    except ConnectionResetError:
        pass
    return answer


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_what_is_within_the_bounds_is_served(server: _Server) -> None:
    """Also in one connection, one after the other and all at once, and with a long body."""
    path = b"/" + b"x" * (REQUEST_LINE_MAX - 1)
    long = b"GET " + path + b" HTTP/1.1\r\n" + b"a: b\r\n" * HEADERS_MAX + b"\r\n"
    wide = b"GET / HTTP/1.1\r\na: " + b"x" * (HEAD_MAX - 30) + b"\r\n\r\n"
    body = b"POST / HTTP/1.1\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunks * 8 + b"0\r\n\r\n"
    last = _GET + b"connection: close\r\n\r\n"
    answer = server.ask(long + wide + body + chunked + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 5
    assert b"\r\n1000000HTTP" in answer
    assert b"\r\n524288HTTP" in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /?" + b"x" * 60_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /" + b"x" * 60_000, 414),
        (_GET + b"a: " + b"x" * 40_000 + b"\r\n\r\n", 431),
        (_GET + b"a: " + b"x" * 40_000, 431),
        (_GET + b"a:\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
        (_GET + b"a:\r\n" * (HEADERS_MAX + 1), 431),
        (b"G" * 40_000, 400),
        (b"\r\n" * 40_000, 431),
        (_GET + b"transfer-encoding: chunked\r\n\r\n0\r\na: " + b"x" * 80_000, 431),
        (_GET + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * 80_000, 431),
        (b"hello\r\n\r\n", 400),
    ],
)
def test_what_exceeds_a_bound_is_refused_by_name(
    server: _Server, request_bytes: bytes, status: int
) -> None:
    """As a problem, with the reason counted; the connection ends."""
    before = server.refused[str(status)]
    answer = server.ask(request_bytes)
    assert server.refused[str(status)] == before + 1
    if b"chunked" not in request_bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert _status(head) == status
        assert json.loads(body)["status"] == status
        assert b"application/problem+json" in head


@pytest.mark.parametrize(
    ("start", "drip", "status"),
    [
        (b"", b"", 408),
        (_GET, b"", 408),
        (_GET, b"a: b\r\n", 408),
        (b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\nx", b"x", 0),
        (b"POST /early HTTP/1.1\r\ncontent-length: 100\r\n\r\nx", b"x", 200),
        (_GET + b"\r\n", b"\r\n", 200),
    ],
)
def test_a_request_that_does_not_end_is_ended(
    server: _Server, start: bytes, drip: bytes, status: int
) -> None:
    """A drip of bytes does not keep it open, before the answer or after it."""
    with server.connect() as client:
        client.sendall(start)
        begun, answer = time.monotonic(), b""
        client.settimeout(0.2)
        while time.monotonic() < begun + 12:
            try:
                data = client.recv(4096)
            except TimeoutError:
                client.sendall(drip)
                continue
            except OSError:
                break
            if not data:
                break
            answer += data
        waited = time.monotonic() - begun
    assert waited < 12
    assert _status(answer) == status


def test_strangers_do_not_take_all_connections() -> None:
    """Those that have sent no request make room for one that sends it."""
    with _serve(most=20, head_s=60) as server, ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(server.connect())
            client.sendall(_GET)
        for _ in range(5):
            answer = server.ask(_GET + b"connection: close\r\n\r\n")
            assert _status(answer) == 200
        assert server.refused[EVICTED] >= 40


def test_when_all_connections_work_a_further_one_is_told() -> None:
    """503, and room again once one of them has ended."""
    unfinished = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nx"
    with _serve(most=3, head_s=60) as server, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in clients:
            client.sendall(unfinished)
        _wait(lambda: all(not connection.waits for connection in server.connections._open))  # noqa: SLF001
        assert _status(server.ask(b"")) == 503
        clients[0].sendall(b"x")
        assert _status(clients[0].recv(4096)) == 200
        assert _status(server.ask(_GET + b"connection: close\r\n\r\n")) == 200


def test_a_flood_of_pipelined_requests_is_not_kept(server: _Server) -> None:
    """Each would be an object of kilobytes, in one packet."""
    server.ask(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\nx" + (_GET + b"\r\n") * 500)
    assert server.refused["503"] == 1


def test_unfinished_heads_of_many_share_one_bound() -> None:
    """A few megabytes; small heads always fit, so that a delivery gets through."""
    with _serve(most=1000, head_s=60) as server, ExitStack() as stack:
        for _ in range(300):
            client = stack.enter_context(server.connect())
            client.sendall(_GET + b"a: " + b"x" * 30_000)
        _wait(lambda: server.refused["431"] >= 100)
        assert server.connections.unfinished < 5 * 2**20
        assert _status(server.ask(_GET + b"connection: close\r\n\r\n")) == 200
    assert server.connections.unfinished == 0


def test_a_standstill_of_the_process_closes_nothing() -> None:
    """What came meanwhile is there, and only has to be read."""

    @dataclass(eq=False)
    class Client:
        due: float = 0.0
        expired: int = 0

        def expire(self) -> None:
            self.expired += 1
            self.due = math.inf

    async def run() -> tuple[int, int]:
        loop, connections, client = asyncio.get_running_loop(), Connections(1), Client()
        client.due = loop.time()
        connections._open.add(client)  # type: ignore[arg-type] # noqa: SLF001
        connections._sweep_soon(loop)  # noqa: SLF001
        time.sleep(3)  # noqa: ASYNC251 the standstill
        await asyncio.sleep(0.1)
        at_once = client.expired
        await asyncio.sleep(1.2)
        connections._open.clear()  # noqa: SLF001
        return at_once, client.expired

    assert asyncio.run(run()) == (0, 1)


def test_strangers_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An upgrade is answered as any request; refusals are counted in one line a minute."""
    upgrade = _GET + b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    with _serve() as server, structlog.testing.capture_logs() as events:
        for _ in range(20):
            assert _status(server.ask(upgrade)) == 200
            assert _status(server.ask(b"no HTTP\r\n\r\n")) == 400
        _wait(lambda: bool(events))
        server.ask(b"no HTTP\r\n\r\n")
        time.sleep(2.5)
    assert [event["event"] for event in events] == ["connections_refused"]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
