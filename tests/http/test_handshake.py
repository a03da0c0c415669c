"""TLS handshakes that strangers begin and do not end, on a real port."""

import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPResponse

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from receiver.http import server as serving
from receiver.http.connections import EVICTED, HANDSHAKE, Connections
from receiver.http.protocol import BoundedProtocol
from receiver.settings import Settings
from tests.http.pki import Pki, make_pki

_REQUEST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
# A ClientHello of 512 bytes begins so; the rest does not come.
_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with scheme, client address and the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{scope['scheme']} {scope['client'][0]} {length}".encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class _Server:
    pki: Pki
    port: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    @contextmanager
    def secure(self) -> Iterator[ssl.SSLSocket]:
        context = ssl.create_default_context(cafile=str(self.pki.ca))
        context.load_cert_chain(*self.pki.client)
        with context.wrap_socket(self.connect(), server_hostname="127.0.0.1") as client:
            yield client

    def ask(self, body: bytes = b"") -> str:
        with self.secure() as client:
            return _ask(client, body)


@contextmanager
def _serve(
    pki: Pki, *, most: int = 1000, handshakes: int = 16, head_s: float = 60
) -> Iterator[_Server]:
    listening = _Server(pki)
    connections = Connections(
        most,
        head_s=head_s,
        handshakes=handshakes,
        count=lambda reason: listening.refused.update([reason]),
    )
    files = {"tls_cert_file": pki.server[0], "tls_key_file": pki.server[1]}
    options = serving.options(Settings.model_validate(files | {"tls_client_ca_file": pki.ca})) | {
        "port": 0,
        "http": partial(BoundedProtocol, connections=connections),
        "lifespan": "off",
    }
    server, sockets = serving.make_server(uvicorn.Config(_application, **options))
    assert sockets is not None
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        _wait(lambda: server.started)
        listening.port = sockets[0].getsockname()[1]
        yield listening
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def _wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def _ask(client: ssl.SSLSocket, body: bytes = b"") -> str:
    client.sendall(_REQUEST % len(body) + body)
    answer = HTTPResponse(client)
    answer.begin()
    return answer.read().decode()


def _open(client: socket.socket) -> bool:
    client.settimeout(0.001)
    try:
        return bool(client.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


def test_requests_over_tls_are_served(pki: Pki) -> None:
    """One after the other in a connection, many at once, and a long one."""
    with _serve(pki) as server:
        with server.secure() as client:
            for _ in range(3):
                assert _ask(client, b"ab") == "https 127.0.0.1 2"
        body = os.urandom(3_000_000)
        assert server.ask(body) == "https 127.0.0.1 3000000"
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.ask(b"abc"))) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(answer.endswith(" 3") for answer in answers) == 40
        assert not server.refused


@pytest.mark.parametrize("sent", [b"", _HELLO])
def test_a_client_gets_in_beside_handshakes_that_do_not_end(pki: Pki, sent: bytes) -> None:
    """At the limit of handshakes, again and again; the oldest are closed, no more stay open."""
    with _serve(pki, handshakes=16) as server, ExitStack() as stack:
        silent = []
        for number in range(200):
            client = stack.enter_context(server.connect())
            client.sendall(sent)
            silent.append(client)
            if number % 20 == 19:
                assert server.ask().endswith(" 0")
        _wait(lambda: sum(map(_open, silent)) <= 16)
        assert [_open(client) for client in silent[-10:]] == [True] * 10
        assert server.refused[EVICTED] >= 184


def test_a_thousand_silent_connections_keep_nobody_out(pki: Pki) -> None:
    """All at once, at the limits as shipped, with a request in a connection from before."""
    with _serve(pki, handshakes=Connections(1).handshakes) as server, ExitStack() as stack:
        with server.secure() as early:
            silent = [stack.enter_context(server.connect()) for _ in range(1100)]
            begun = time.monotonic()
            assert server.ask().endswith(" 0")
            assert _ask(early).endswith(" 0")
            assert time.monotonic() - begun < 5
        _wait(lambda: sum(map(_open, silent)) <= Connections(1).handshakes)


def test_handshakes_count_as_connections(pki: Pki) -> None:
    """With fewer connections than handshakes allowed."""
    with _serve(pki, most=20, handshakes=250) as server, ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(60)]
        assert server.ask().endswith(" 0")
        _wait(lambda: sum(map(_open, silent)) <= 20)


def test_a_handshake_that_drips_is_ended(pki: Pki) -> None:
    """In the time of a head, and counted by name."""
    with _serve(pki, head_s=1) as server, server.connect() as client:
        begun = time.monotonic()
        for byte in _HELLO + bytes(50):
            time.sleep(0.2)
            if not _open(client):
                break
            client.sendall(bytes([byte]))
        assert 0.9 < time.monotonic() - begun < 5
        assert server.refused[HANDSHAKE] == 1
        assert server.ask().endswith(" 0")


def test_a_client_without_a_certificate_does_not_get_in(pki: Pki) -> None:
    """Nothing of its request reaches the application, and its place is free again."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    with _serve(pki, most=3) as server:
        for _ in range(5):
            with (
                server.connect() as client,
                context.wrap_socket(client, server_hostname="127.0.0.1") as stranger,
                pytest.raises((ssl.SSLError, ConnectionError)),
            ):
                _ask(stranger)
        assert server.ask().endswith(" 0")
        assert not server.refused


def test_silent_connections_do_not_delay_a_stop(pki: Pki) -> None:
    """They are closed with the port."""
    with ExitStack() as stack:
        with _serve(pki) as server:
            for _ in range(10):
                stack.enter_context(server.connect())
            assert server.ask().endswith(" 0")
            begun = time.monotonic()
        assert time.monotonic() - begun < 5
