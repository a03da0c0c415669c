"""A hostile load before any token is read, on the real service, while alerts are delivered."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from demo.stack.processes import Processes
from receiver.http.access.callers import Role
from tests.end_to_end.service_process import Service

_CONNECTIONS = 1_100
_LINES = b"a:b\r\n" * 2_000
_RSS_MAX_MB = 400
# On a busy machine; the long path alone once took ten seconds, and all others waited for it.
_ANSWER_MAX_S = 5
_DELIVERY = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "X"}}]}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Processes(tmp_path / "logs") as processes:
        yield Service.make(tmp_path, processes)


def test_strangers_neither_stall_nor_fill_the_service(service: Service) -> None:
    """1,100 half requests, 60 MB of headers without end, and a path of 40 KB."""
    address = service.url.removeprefix("http://").split(":")

    def connect() -> socket.socket:
        return socket.create_connection((address[0], int(address[1])), timeout=10)

    def send_without_end() -> None:
        with connect() as client, suppress(OSError):
            client.sendall(b"GET /healthz HTTP/1.1\r\n")
            for _ in range(6_000):
                client.sendall(_LINES)

    flood = threading.Thread(target=send_without_end)
    with ExitStack() as stack, httpx.Client(trust_env=False, timeout=30) as http:
        for number in range(_CONNECTIONS):
            client = stack.enter_context(connect())
            with suppress(OSError):
                client.sendall(b"GET / HTTP/1.1\r\na: " + b"x" * (30_000 if number % 2 else 50))
        flood.start()
        long_path = http.get(f"{service.url}/api/v1/runs/{'a.' * 20_000}")
        assert long_path.status_code == HTTPStatus.REQUEST_URI_TOO_LONG
        token = {"Authorization": f"Bearer {service.tokens[Role.WEBHOOK]}"}
        for _ in range(20):
            started = time.monotonic()
            # A connection of its own each time: Alertmanager's may be a new one as well.
            answer = httpx.get(f"{service.url}/healthz", trust_env=False, timeout=30)
            url = f"{service.url}/webhook/alertmanager"
            delivery = httpx.post(url, json=_DELIVERY, headers=token, trust_env=False, timeout=30)
            assert (answer.status_code, delivery.status_code) == (200, 200)
            assert time.monotonic() - started < _ANSWER_MAX_S
            assert service.resident_mb() < _RSS_MAX_MB
        flood.join()
    assert service.log().count("connections_refused") <= 2
