"""Servers that drip, never end, or send us elsewhere: no call of ours hangs, swells or follows."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from actions.messaging import MessengerError
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.http import bounded_read
from receiver.http.bounded_read import TooLargeError, TooSlowError
from receiver.monitoring.alertmanager import Alertmanager
from receiver.notify.channels import Channels
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import parse_envelope
from receiver.webhook.truncated import Truncated


@dataclass
class Hostile:
    """Drips, pours or redirects by the first part of the path; `seen` are all paths."""

    url: str
    seen: list[str] = field(default_factory=list)


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.seen.append(self.path)
            if self.path.startswith("/elsewhere"):
                self.send_response(302)
                self.send_header("Location", f"{host.url}/secret")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            chunk, pause = (b"x", 0.05) if self.path.startswith("/drip") else (b"x" * 65_536, 0.0)
            try:
                for _ in range(200):
                    self.wfile.write(chunk)
                    self.wfile.flush()
                    time.sleep(pause)
            except OSError:
                return

        do_POST = do_GET  # noqa: N815 the library's name

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = Hostile(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield host
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("path", "error"), [("drip", TooSlowError), ("pour", TooLargeError)])
def test_an_answer_is_bounded_in_time_and_size(
    hostile: Hostile, path: str, error: type[Exception]
) -> None:
    """Each byte in time is not all of it in time."""
    until = time.monotonic() + 0.5
    with (
        httpx.Client(trust_env=False) as http,
        http.stream("GET", f"{hostile.url}/{path}") as answer,
        pytest.raises(error),
    ):
        bounded_read.read_bounded(answer, max_bytes=1_000_000, deadline=until)
    assert time.monotonic() < until + 1


def test_no_call_goes_where_an_answer_sends_it(hostile: Hostile, tmp_path: Path) -> None:
    """Not for silences, for people, for metrics, nor for the rest of a group."""
    with httpx.Client(trust_env=False) as http:
        with pytest.raises(MessengerError, match="302"):
            Channels(Alertmanager(f"{hostile.url}/elsewhere", http), None).find_silences("x")
        with pytest.raises(PrometheusError, match="302"):
            Prometheus(f"{hostile.url}/elsewhere").instant_query("up", at=1.0)
        people = tmp_path / "people"
        people.write_text(f"oncall={hostile.url.replace('http', 'json')}/elsewhere\n")
        with pytest.raises(MessengerError):
            Channels(Alertmanager(hostile.url, http), people).notify("oncall", "title", "text")
        registry = CollectorRegistry()
        metrics = WebhookMetrics(registry)
        elsewhere = Alertmanager(f"{hostile.url}/elsewhere", http)
        rest = Truncated(elsewhere, lambda *_: pytest.fail("stored"), metrics)
        delivery = parse_envelope(b'{"version": "4", "alerts": [], "truncatedAlerts": 1}')
        rest.fetch(delivery, fires=True)
        until = time.monotonic() + 20
        while not metrics.truncated_groups.labels("lost")._value.get():  # noqa: SLF001 its public reader is the text of all
            assert time.monotonic() < until
            time.sleep(0.1)
        rest.close()
    assert len(hostile.seen) >= 4
    assert all(path.startswith("/elsewhere") for path in hostile.seen)
