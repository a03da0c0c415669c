"""The shipped HAProxy configuration, with receivers that are down or die during a delivery."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import httpx
import pytest

from demo.stack import haproxy
from demo.stack.processes import Processes, free_port, wait_ready


class _Answers(BaseHTTPRequestHandler):
    """A receiver that is ready and accepts each delivery."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Write no access log."""


class _Dies(_Answers):
    """A receiver that reads a delivery and dies."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))


class _Hangs(_Answers):
    """A receiver that reads a delivery and never answers again."""

    def do_POST(self) -> None:
        self.server.hung = True  # type: ignore[attr-defined]
        sleep(20)

    def do_GET(self) -> None:
        if getattr(self.server, "hung", False):
            sleep(20)
        super().do_GET()


# Takes its time over a delivery, in a process that can be killed.
_SLOW = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.2)
        self.do_GET()

class Server(ThreadingHTTPServer):
    request_queue_size = 2048

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


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
        yield haproxy.start(processes, folder=tmp_path / "proxy", receivers=urls)


_TOKEN = {"Authorization": "Bearer x"}


def _delivered(address: str) -> int:
    """The status of a delivery as large as a hundred alerts."""
    body = b"x" * 200_000
    url = f"{address}/webhook/alertmanager"
    answer = httpx.post(url, content=body, headers=_TOKEN, timeout=20, trust_env=False)
    return answer.status_code


_HEAD = b"POST /webhook/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"


async def _status(address: str) -> str:
    """The answer to a small delivery; empty if the connection ended without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(_HEAD % 800 + b"Authorization: Bearer x\r\n\r\n" + b"x" * 800)
    answer = await reader.read()
    writer.close()
    return answer[9:12].decode()


def test_a_delivery_waits_for_a_receiver(address: str, urls: tuple[str, str]) -> None:
    """While no receiver answers it waits; the first one that answers gets it, without a retry."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(_delivered, address)
        sleep(1)
        assert not answer.done()
        with receiver(urls[0]), receiver(urls[1]):
            assert answer.result() == 200


def test_a_storm_waits_for_a_receiver(address: str, urls: tuple[str, str]) -> None:
    """More than the proxy has connections for: none blocks another."""

    async def delivered() -> set[int]:
        async with httpx.AsyncClient(timeout=20, trust_env=False, limits=httpx.Limits()) as client:
            url = f"{address}/webhook/alertmanager"
            posts = [client.post(url, content=b"x" * 800, headers=_TOKEN) for _ in range(300)]
            return {answer.status_code for answer in await asyncio.gather(*posts)}

    with ThreadPoolExecutor() as pool:
        statuses = pool.submit(lambda: asyncio.run(delivered()))
        sleep(2)
        with receiver(urls[0]), receiver(urls[1]):
            assert statuses.result() == {200}


def test_a_delivery_goes_to_another_receiver(address: str, urls: tuple[str, str]) -> None:
    """The first receiver dies during each delivery."""
    with receiver(urls[0], _Dies), receiver(urls[1]):
        sleep(1)
        assert {_delivered(address) for _ in range(6)} == {200}


def test_a_killed_receiver_costs_no_delivery(tmp_path: Path) -> None:
    """Another receiver gets its deliveries, while refused connections show that it is down."""
    urls = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    with Processes(tmp_path / "logs") as processes:
        address = haproxy.start(processes, folder=tmp_path / "proxy", receivers=urls)
        serve = [sys.executable, "-c", _SLOW]
        first, second = (processes.start(url[-5:], [*serve, url[-5:]]) for url in urls)
        for child, url in ((first, urls[0]), (second, urls[1])):
            wait_ready(child, url)
        sleep(1)

        async def delivered() -> Counter[str]:
            async def post(number: int) -> str:
                await asyncio.sleep(number * 0.003)
                return await _status(address)

            posts = [asyncio.create_task(post(number)) for number in range(600)]
            await asyncio.sleep(0.6)
            first.kill()
            await asyncio.sleep(0.6)
            second.kill()
            processes.start("again", second.command)
            return Counter(await asyncio.gather(*posts))

        assert asyncio.run(delivered()) == {"200": 600}


def test_a_receiver_that_hangs_is_left_alone(address: str, urls: tuple[str, str]) -> None:
    """Another receiver gets its delivery long before Alertmanager gives up; others do not wait."""
    with receiver(urls[0], _Hangs), receiver(urls[1]), ThreadPoolExecutor() as pool:
        sleep(1)
        taken = [pool.submit(_delivered, address) for _ in range(4)]
        sleep(6)
        began = monotonic()
        assert {_delivered(address) for _ in range(4)} == {200}
        assert monotonic() - began < 2
        assert {post.result() for post in taken} == {200}


def test_connections_are_not_kept(address: str, urls: tuple[str, str]) -> None:
    """An Alertmanager's idle connections would keep out those that wait to be accepted."""
    with receiver(urls[0]), receiver(urls[1]):
        sleep(1)
        began = monotonic()
        assert asyncio.run(_status(address)) == "200"
        assert monotonic() - began < 2


@pytest.mark.parametrize(
    "sent",
    [
        _HEAD % 100 + b"\r\nx",
        _HEAD % 100 + b"Authorization: Bearer x\r\n\r\nx",
        _HEAD % 100,
    ],
)
def test_strangers_delay_no_delivery(address: str, urls: tuple[str, str], sent: bytes) -> None:
    """Three hundred send requests that they never end, and are turned away in seconds."""

    async def delivered() -> float:
        host, port = "127.0.0.1", int(address.rpartition(":")[2])
        strangers = [await asyncio.open_connection(host, port) for _ in range(300)]
        for _, writer in strangers:
            writer.write(sent)
        await asyncio.sleep(0.5)
        began = monotonic()
        assert await _status(address) == "200"
        took = monotonic() - began
        answers = await asyncio.wait_for(asyncio.gather(*(r.read() for r, _ in strangers)), 10)
        assert {answer[9:12] for answer in answers} <= {b"401", b"408"}
        for _, writer in strangers:
            writer.close()
        return took

    with receiver(urls[0]), receiver(urls[1]):
        sleep(1)
        assert asyncio.run(delivered()) < 1


def test_nothing_else_passes(address: str, urls: tuple[str, str]) -> None:
    """The proxy refuses the API and the console."""
    with receiver(urls[0]), receiver(urls[1]):
        for path in ("/", "/metrics", "/api/v1/pause"):
            assert httpx.post(f"{address}{path}", trust_env=False).status_code == 403
