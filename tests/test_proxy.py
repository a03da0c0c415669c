"""The shipped HAProxy configuration before receivers that are away, or die over a delivery."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import httpx
import pytest

from demo import proxy
from demo.processes import Processes, free_port


class _Answers(BaseHTTPRequestHandler):
    """Ready, and takes whatever is delivered."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class _Dies(_Answers):
    """Reads a delivery and is gone."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))


class _Hangs(_Answers):
    """Takes a delivery, and answers nothing from then on."""

    def do_POST(self) -> None:
        self.server.hung = True  # type: ignore[attr-defined]
        sleep(20)

    def do_GET(self) -> None:
        if getattr(self.server, "hung", False):
            sleep(20)
        super().do_GET()


class _Server(ThreadingHTTPServer):
    # As many as a receiver lets wait.
    request_queue_size = 2048


@contextmanager
def receiver(url: str, handler: type[_Answers] = _Answers) -> Iterator[None]:
    server = _Server(("127.0.0.1", int(url.rpartition(":")[2])), handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def urls() -> tuple[str, str]:
    return f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def address(tmp_path: Path, urls: tuple[str, str]) -> Iterator[str]:
    with Processes(tmp_path / "logs") as processes:
        yield proxy.start(processes, folder=tmp_path / "proxy", receivers=urls)


def _delivered(address: str) -> int:
    """The status. As much as a hundred alerts."""
    body = b"x" * 200_000
    url = f"{address}/webhook/alertmanager"
    return httpx.post(url, content=body, timeout=20, trust_env=False).status_code


def test_a_delivery_waits_for_a_receiver(address: str, urls: tuple[str, str]) -> None:
    """All are away: it is taken as soon as one is back, at the first try."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(_delivered, address)
        sleep(1)
        assert not answer.done()
        with receiver(urls[0]), receiver(urls[1]):
            assert answer.result() == 200


def test_a_storm_waits_for_a_receiver(address: str, urls: tuple[str, str]) -> None:
    """More than the proxy has connections for: none is in another one's way."""

    async def delivered() -> set[int]:
        async with httpx.AsyncClient(timeout=20, trust_env=False, limits=httpx.Limits()) as client:
            url = f"{address}/webhook/alertmanager"
            posts = [client.post(url, content=b"x" * 800) for _ in range(300)]
            return {answer.status_code for answer in await asyncio.gather(*posts)}

    with ThreadPoolExecutor() as pool:
        statuses = pool.submit(lambda: asyncio.run(delivered()))
        sleep(2)
        with receiver(urls[0]), receiver(urls[1]):
            assert statuses.result() == {200}


def test_a_delivery_goes_to_another_receiver(address: str, urls: tuple[str, str]) -> None:
    """Where the first one dies over it, each time."""
    with receiver(urls[0], _Dies), receiver(urls[1]):
        sleep(1)
        assert {_delivered(address) for _ in range(6)} == {200}


def test_a_receiver_that_hangs_is_left_alone(address: str, urls: tuple[str, str]) -> None:
    """What it took goes to another one, long before Alertmanager gives it up."""
    with receiver(urls[0], _Hangs), receiver(urls[1]):
        sleep(1)
        began = monotonic()
        assert {_delivered(address) for _ in range(4)} == {200}
        assert monotonic() - began < 10


def test_nothing_else_passes(address: str, urls: tuple[str, str]) -> None:
    """Neither the API nor the console."""
    with receiver(urls[0]), receiver(urls[1]):
        for path in ("/", "/metrics", "/api/v1/pause"):
            assert httpx.post(f"{address}{path}", trust_env=False).status_code == 403
