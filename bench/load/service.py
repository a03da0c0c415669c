"""A receiver, or the yardstick, in a process of its own."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.stack.processes import Child, Processes, free_port, wait_ready, without_aws
from receiver.http import tokens
from receiver.http.tokens import Role

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Nothing listens there: whatever is asked is refused at once.
_NOWHERE = "http://127.0.0.1:1"


@dataclass(kw_only=True)
class Served:
    """A running process; `tokens` are secrets by role."""

    url: str
    child: Child
    tokens: Mapping[Role, str]
    ready_s: float

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * _PAGE / 2**20

    def get(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[Role.VIEWER]}"}
        with httpx.Client(trust_env=False, timeout=120) as http:
            return http.get(f"{self.url}{path}", headers=headers)

    def metric(self, name: str) -> float:
        """The sum over all labels of a metric."""
        lines = self.get("/metrics").text.splitlines()
        found = (line for line in lines if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rpartition(" ")[2]) for line in found)


def serve(processes: Processes, folder: Path, name: str, **changed: str) -> Served:
    """A receiver that keeps what it has in `folder`; `changed` are SMARTCLOUDOPS_* without that."""
    file = folder / "tokens.json"
    # Of a service that was there before.
    file.unlink(missing_ok=True)
    made = {role: tokens.create(file, role, str(role)) for role in Role}
    defaults = {
        "DATABASE_URL": f"sqlite:///{folder}/state.db",
        "TOKENS_FILE": str(file),
        "PROMETHEUS_URL": _NOWHERE,
        "WEBHOOK_RATE_LIMIT": "1000000",
        "RATE_LIMIT": "100000",
        "LOG_LEVEL": "info",
    }
    return _start(processes, name, ("-m", "receiver", "serve"), defaults | changed, made)


def yardstick(processes: Processes, folder: Path) -> Served:
    """An endpoint that reads the same and does nothing, on the same server."""
    return _start(
        processes, "noop", ("-m", "bench.load.baseline"), {"TOKENS_FILE": str(folder / "none")}, {}
    )


def _start(
    processes: Processes,
    name: str,
    arguments: tuple[str, ...],
    changed: Mapping[str, str],
    made: Mapping[Role, str],
) -> Served:
    port = free_port()
    aws = {
        "AWS_ENDPOINT_URL": changed.get("AWS", _NOWHERE),
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    ours = {f"SMARTCLOUDOPS_{key}": value for key, value in changed.items() if key != "AWS"}
    env = {**without_aws(), **aws, **ours, "SMARTCLOUDOPS_PORT": str(port)}
    child = processes.start(name, [sys.executable, *arguments], env=env)
    url = f"http://127.0.0.1:{port}"
    started = os.times().elapsed
    wait_ready(child, f"{url}/readyz", timeout_s=120)
    return Served(url=url, child=child, tokens=made, ready_s=os.times().elapsed - started)
