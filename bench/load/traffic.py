"""Steady deliveries, as from an Alertmanager with many groups."""

import json
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

import httpx

from bench.load.steady_load import Acknowledgement

_SENDERS, _EVERY_S = 4, 0.2
# A sender with more firing alerts than this resolves one.
_FIRING = 40
_NEW, _UNKNOWN_HOST, _REAL_HOST = 0.3, 0.15, 0.03
_OPEN = "0001-01-01T00:00:00Z"


@dataclass
class _Sender:
    """Delivers new alerts, repeated alerts and resolved alerts in turn."""

    url: str
    token: str
    hosts: Sequence[tuple[str, str]]
    number: int
    over: threading.Event
    answers: list[Acknowledgement] = field(default_factory=list)
    accepted: int = 0
    failed: int = 0
    _firing: list[dict[str, Any]] = field(default_factory=list)
    _sent: int = 0

    def run(self) -> None:
        # Seeded, so that each soak has the same traffic.
        chance = random.Random(self.number)
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(trust_env=False, timeout=30, headers=headers) as http:
            due = time.monotonic()
            while not self.over.wait(max(0.0, due - time.monotonic())):
                due += _EVERY_S
                self._deliver(http, self._alerts(chance))

    def _deliver(self, http: httpx.Client, alerts: Sequence[Mapping[str, Any]]) -> None:
        body = {"version": "4", "alerts": alerts}
        sent = time.monotonic()
        try:
            answer = http.post(f"{self.url}/webhook/alertmanager", json=body).raise_for_status()
        except httpx.HTTPError:
            self.failed += 1
            return
        self.answers.append(Acknowledgement(sent, time.monotonic() - sent))
        self.accepted += answer.json()["accepted"]

    def _alerts(self, chance: random.Random) -> Sequence[Mapping[str, Any]]:
        """Sometimes a new alert, up to four repeats, and a resolved alert when too many fire."""
        now = datetime.now(UTC).isoformat()
        alerts = chance.sample(self._firing, min(4, len(self._firing)))
        if len(self._firing) >= _FIRING:
            ended = self._firing.pop(chance.randrange(len(self._firing)))
            alerts = [alert for alert in alerts if alert is not ended]
            alerts.append({**ended, "status": "resolved", "endsAt": now})
        if chance.random() < _NEW or not alerts:
            fresh = {"status": "firing", "labels": self._labels(chance), "annotations": {}}
            fresh |= {"startsAt": now, "endsAt": _OPEN}
            self._firing.append(fresh)
            alerts.append(fresh)
        return alerts

    def _labels(self, chance: random.Random) -> Mapping[str, str]:
        self._sent += 1
        labels = {"severity": "warning", "n": f"{self.number}-{self._sent}"}
        kind = chance.random()
        if kind < _REAL_HOST:
            instance, group = chance.choice(self.hosts)
            return {**labels, "alertname": "Soak", "instance_id": instance, "asg": group}
        if kind < _REAL_HOST + _UNKNOWN_HOST:
            unknown = f"i-{chance.getrandbits(68):017x}"
            return {**labels, "alertname": "Soak", "instance_id": unknown, "asg": self.hosts[0][1]}
        return {**labels, "alertname": "Other", "asg": f"web-{self._sent % 50}"}


class Traffic:
    """Twenty deliveries per second inside the block; `hosts` are instances with their groups."""

    def __init__(self, url: str, token: str, hosts: Sequence[tuple[str, str]]) -> None:
        self._over = threading.Event()
        self._senders = [_Sender(url, token, hosts, n, self._over) for n in range(_SENDERS)]
        self._threads = [threading.Thread(target=sender.run) for sender in self._senders]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def answers(self) -> Sequence[Acknowledgement]:
        return sorted(
            (answer for sender in self._senders for answer in sender.answers),
            key=lambda answer: answer.at,
        )

    @property
    def accepted(self) -> int:
        return sum(sender.accepted for sender in self._senders)

    @property
    def failed(self) -> int:
        return sum(sender.failed for sender in self._senders)


def sample_times(query: str, newest: float, every_s: float = 5.0) -> list[dict[str, Any]]:
    """The answer to a question about samples' own times; empty for any other query."""
    values = {"newest": newest, "count": 300 / every_s}
    return [
        {"metric": {kind: number}, "value": [newest, str(values[kind])]}
        for kind, number in re.findall(r'"(newest|count)", "(\d+)"', query)
    ]


def answer_form(form: bytes, value: str | None) -> bytes:
    """The body that answers a query: new samples, each with this value, or none."""
    query = parse_qs(form.decode()).get("query", [""])[0]
    same = [] if value is None else [{"metric": {}, "value": [1, value]}]
    result = same and (sample_times(query, time.time(), 0.1) or same)
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


@contextmanager
def all_up() -> Iterator[str]:
    """Serve a Prometheus that answers every query with 1. Gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer_form(self.rfile.read(int(self.headers["Content-Length"])), "1")
            self.send_response(httpx.codes.OK)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


@contextmanager
def running(server: HTTPServer) -> Iterator[str]:
    """The URL of the server, which answers in a thread of its own until the end."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
