"""HAProxy in the role of the load balancer: it health-checks the machines, balances and drains.

Every backend has a server for each slot of the network, of which those take part whose machine is
registered. Their state is set by the runtime API, so that no reload loses a connection:
https://docs.haproxy.org/2.6/management.html#9.3 (`set server`, `show stat`).
"""

import csv
import io
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from demo.machines.network.ports import SERVICE, Slot
from demo.stack import haproxy
from demo.stack.processes import ProcessError, bound_to_this_process, free_port

_READY_S, _ANSWER_S = 60, 2.0
# A target of an ALB fails after two checks in a row here; nothing is sent twice, as an ALB does.
_CONFIG = """
global
  stats socket {folder}/haproxy.sock mode 600 level admin
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout client 15s
  timeout server 10s
  timeout check 2s
  option httpchk GET /health
"""
# "If a target group contains only unhealthy registered targets, the load balancer routes requests
# to all those targets, regardless of their health status." A machine of ours is slow at times.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
_BACKENDS = """
frontend {name}
  bind 127.0.0.1:{port}
  use_backend {name}{unchecked} if {{ nbsrv({name}) lt 1 }}
  default_backend {name}
backend {name}
  balance roundrobin
  default-server check inter 2s fall 2 rise 2
{servers}backend {name}{unchecked}
  balance roundrobin
{servers}"""
_UNCHECKED = "-unchecked"
READY, DRAIN, OFF = "ready", "drain", "maint"


@dataclass
class Balancer:
    """Use as a context manager, from a thread that lasts. `ports` are those of loopback."""

    names: Iterable[str]
    slots: Iterable[Slot]
    folder: Path
    ports: dict[str, int] = field(default_factory=dict, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _states: dict[tuple[str, int], str] = field(default_factory=dict, init=False)

    def __enter__(self) -> Self:
        """Raises ProcessError, ToolsError."""
        text = _CONFIG.format(folder=self.folder)
        for name in self.names:
            self.ports[name] = free_port()
            servers = "".join(
                f"  server s{slot.number} 127.0.0.1:{slot.ports[SERVICE]} disabled\n"
                for slot in self.slots
            )
            text += _BACKENDS.format(
                name=name, port=self.ports[name], unchecked=_UNCHECKED, servers=servers
            )
        config = self.folder / "haproxy.cfg"
        config.write_text(text)
        with (self.folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                bound_to_this_process([*haproxy.require(), "-db", "-f", config]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + _READY_S
        while self._ask("show info") is None:
            if time.monotonic() > until:
                raise ProcessError(f"HAProxy did not start; see {self.folder / 'haproxy.log'}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def set(self, name: str, slot: Slot, state: str) -> None:
        """READY, DRAIN or OFF; a machine that becomes ready has to pass its checks first."""
        key = (name, slot.number)
        if self._states.get(key, OFF) == state:
            return
        server = f"{name}/s{slot.number}"
        commands = [f"set server {server} state {state}"]
        if state == READY and self._states.get(key, OFF) == OFF:
            # HAProxy takes a server for well that was off.
            down = (f"set server {server} state {DRAIN}", f"set server {server} health down")
            commands = [*down, *commands]
        commands.append(f"set server {name}{_UNCHECKED}/s{slot.number} state {state}")
        if self._ask(";".join(commands)) is not None:
            self._states[key] = state

    def healthy(self) -> Mapping[tuple[str, int], bool]:
        """Whether its checks pass, by backend and slot, of the machines that take part."""
        told = self._ask("show stat -1 4 -1") or ""
        rows = csv.DictReader(io.StringIO(told.removeprefix("# ")))
        return {
            (row["pxname"], int(row["svname"][1:])): row["status"].startswith(("UP", "DRAIN"))
            for row in rows
        }

    def _ask(self, command: str) -> str | None:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_ANSWER_S)
                client.connect(str(self.folder / "haproxy.sock"))
                client.sendall(f"{command}\n".encode())
                answer = b""
                while chunk := client.recv(65_536):
                    answer += chunk
        except OSError:
            return None
        return answer.decode(errors="replace")
