"""A receiver, or the baseline, in its own process."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.stack.environment import emulated_aws
from demo.stack.processes import Child, Processes, free_port, wait_ready, without_aws
from receiver.http.access import tokens
from receiver.http.access.callers import Role

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# No server listens on this port: every connection is refused at once.
_NOWHERE = "http://127.0.0.1:1"


@dataclass(kw_only=True)
class Served:
    """A running service; `tokens` are secrets by role."""

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
        samples = (line for line in lines if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rpartition(" ")[2]) for line in samples)


def serve(processes: Processes, folder: Path, name: str, **changed: str) -> Served:
    """Start a receiver with its database in `folder`; `changed` are settings without prefix."""
    file = folder / "tokens.json"
    # An earlier service may have written this file.
    file.unlink(missing_ok=True)
    secrets = {role: tokens.create(file, role, str(role)) for role in Role}
    defaults = {
        "DATABASE_URL": f"sqlite:///{folder}/state.db",
        "TOKENS_FILE": str(file),
        "PROMETHEUS_URL": _NOWHERE,
        "WEBHOOK_RATE_LIMIT": "1000000",
        "RATE_LIMIT": "100000",
        "LOG_LEVEL": "info",
    }
    return _start(processes, name, ("-m", "receiver", "serve"), defaults | changed, secrets)


def serve_baseline(processes: Processes, folder: Path) -> Served:
    """Start an endpoint that reads the same bodies and does nothing, on the same server."""
    return _start(
        processes,
        "baseline",
        ("-m", "bench.load.baseline"),
        {"TOKENS_FILE": str(folder / "none")},
        {},
    )


def _start(
    processes: Processes,
    name: str,
    arguments: tuple[str, ...],
    changed: Mapping[str, str],
    secrets: Mapping[Role, str],
) -> Served:
    port = free_port()
    aws = emulated_aws(changed.get("AWS", _NOWHERE))
    own = {f"SMARTCLOUDOPS_{key}": value for key, value in changed.items() if key != "AWS"}
    env = {**without_aws(), **aws, **own, "SMARTCLOUDOPS_PORT": str(port)}
    child = processes.start(name, [sys.executable, *arguments], env=env)
    url = f"http://127.0.0.1:{port}"
    started = os.times().elapsed
    wait_ready(child, f"{url}/readyz", timeout_s=120)
    return Served(url=url, child=child, tokens=secrets, ready_s=os.times().elapsed - started)
