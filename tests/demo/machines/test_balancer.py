"""The balancer before the machines: what reaches a target that is new, and one that is ill."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from demo.machines.network.ports import SERVICE, Slot
from demo.machines.traffic.balancer import OFF, READY, Balancer
from demo.stack.processes import free_port

_OK, _ILL, _PATIENCE_S = 200, 500, 15


class _Service(BaseHTTPRequestHandler):
    """Answers pages; its health is as `well` says."""

    well = True

    def do_GET(self) -> None:
        self.send_response(_OK if self.well or self.path != "/health" else _ILL)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[Slot]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Slot(number=0, ports={SERVICE: server.server_port})
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent() -> Slot:
    """A machine whose service does not listen yet."""
    return Slot(number=1, ports={SERVICE: free_port()})


@pytest.fixture
def balancer(service: Slot, silent: Slot, tmp_path: Path) -> Iterator[Balancer]:
    with Balancer(["web"], [service, silent], tmp_path) as balancer:
        yield balancer


def _status(balancer: Balancer) -> int:
    url = f"http://127.0.0.1:{balancer.ports['web']}/page"
    return httpx.get(url, trust_env=False, timeout=5).status_code


def _await_health(balancer: Balancer, slot: Slot, *, well: bool) -> None:
    until = time.monotonic() + _PATIENCE_S
    while balancer.healthy()["web", slot.number] != well:
        assert time.monotonic() < until, "the checks did not find it in time"
        time.sleep(0.1)


def test_a_new_target_gets_no_request_before_its_checks_pass(
    balancer: Balancer, service: Slot, silent: Slot
) -> None:
    balancer.set("web", service, READY)
    _await_health(balancer, service, well=True)
    for _ in range(5):
        balancer.set("web", silent, READY)
        assert {_status(balancer) for _ in range(6)} == {_OK}
        balancer.set("web", silent, OFF)


def test_a_group_whose_targets_are_all_ill_gets_its_requests_nevertheless(
    balancer: Balancer, service: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Service, "well", False)
    balancer.set("web", service, READY)
    _await_health(balancer, service, well=False)
    assert _status(balancer) == _OK
