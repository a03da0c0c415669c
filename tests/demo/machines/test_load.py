"""The callers outside of the machines: what they count is what a caller would notice."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from demo.machines.traffic import load
from demo.stack.processes import free_port


class _Half(BaseHTTPRequestHandler):
    """Answers every other request with an error."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(500 if self.asked % 2 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Slow(BaseHTTPRequestHandler):
    """Takes half a second for an answer; each user asks for a page of its own."""

    asked: ClassVar[Counter[str]] = Counter()
    present: ClassVar[Counter[str]] = Counter()
    impatient: ClassVar[set[str]] = set()
    lock = threading.Lock()

    def do_GET(self) -> None:
        with self.lock:
            self.asked[self.path] += 1
            self.present[self.path] += 1
            if self.present[self.path] > 1:
                self.impatient.add(self.path)
        time.sleep(0.5)
        with self.lock:
            self.present[self.path] -= 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _lines(folder: Path) -> list[dict[str, Any]]:
    """What the callers have written."""
    file = folder / "requests.jsonl"
    return list(map(json.loads, file.read_text().splitlines())) if file.exists() else []


def test_requests_that_fail_are_counted_by_second_and_balancer(tmp_path: Path) -> None:
    """Errors of a server, a port at which nobody listens, and users who wait for their answers."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (_Half, _Slow)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    up, slow = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    down = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "rates.json").write_text(json.dumps({up: 20, down: 5}))
    (tmp_path / "users.json").write_text(json.dumps({slow: 3}))
    with subprocess.Popen([sys.executable, "-m", load.__name__, tmp_path, "1"]) as callers:
        until = time.monotonic() + 30
        while sum(line["sent"] for line in _lines(tmp_path)) < 70 and time.monotonic() < until:
            time.sleep(0.2)
        callers.kill()
    for server in servers:
        server.shutdown()
        server.server_close()
    counts: dict[str, Counter[str]] = {up: Counter(), down: Counter(), slow: Counter()}
    for line in _lines(tmp_path):
        assert line["sent"] <= 25
        counts[line["url"]].update({name: line[name] for name in ("sent", "failed", "slow")})
    assert counts[up]["sent"] > 20
    assert abs(counts[up]["failed"] - counts[up]["sent"] / 2) <= 1
    assert counts[down]["failed"] == counts[down]["sent"] > 5
    assert not counts[up]["slow"]
    assert counts[slow]["sent"] > 3
    assert len(_Slow.asked) == 3
    assert not _Slow.impatient
    assert not counts[slow]["failed"]
