"""One machine: a Linux kernel in an ordinary process, with a disk, a console and a network card."""

import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo.machines import kernel_console
from demo.machines.image import Image
from demo.machines.network.ports import AGENT, Slot
from demo.machines.programs import SHELL_PATH, Programs
from demo.machines.reaper import Reaper
from demo.stack.debian import run
from demo.stack.processes import bound_to_this_process

MEMORY_MB = 512
# EC2 keeps the latest 64 KB:
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
_CONSOLE_BYTES = 64 << 10
# A container has 64 MB of it by default, and a kernel that finds it full is killed.
_ROOM_BYTES = 2 << 30
# Prometheus gives up after 5 s.
_ANSWER_S, _SCRAPE_S, _FAULT_S, _SCRIPT_S = 2.0, 4.5, 60.0, 310.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 the tmpfs of POSIX shared memory


@dataclass
class Machine:
    """Start and stop it from a thread that lasts: the kernel ends it with that thread.

    Its programs get the `variables` as environment.

    The memory of a machine is a file that it maps, so TMPDIR should be a tmpfs
    (https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html). Measured on two cores: it
    serves 3 s after the start, or 11 s where eight start at once; takes 0.3 % of a core when idle,
    2 ms for a request and 17 ms for a scrape; and has 80 to 100 MB of memory in use.
    """

    name: str
    programs: Programs
    image: Image
    slot: Slot
    port: Path
    folder: Path
    reaper: Reaper
    variables: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    frozen: bool = field(default=False, init=False)

    def start(self) -> None:
        """Power on; the disk is a sparse copy, made at the first start. Raises ToolsError."""
        self.kill()
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = self.folder / "disk.img"
        if not disk.exists():
            run("cp", "--sparse=always", str(self.image.disk), str(disk))
        command: list[str | Path] = [
            *("nice", "-n", "5"),
            self.programs.kernel,
            f"mem={MEMORY_MB}M",
            f"umid={self.name}",
            f"uml_dir={self.folder}",
            f"hostfs={self.image.root}",
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
            f"ubd0={disk}",
            # A request to shut down ends the process: power is switched from outside.
            *("init=/init", "noreboot", "loglevel=4", "con=null", "con0=fd:0,fd:1"),
            f"vec0:transport=bess,dst={self.port},mac={self.slot.mac}",
            f"NAME={self.name}",
            f"ADDRESS={self.slot.address}",
            *(f"{name}={value}" for name, value in self.variables.items()),
        ]
        shared = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > _ROOM_BYTES
        env = {"PATH": SHELL_PATH, "TMPDIR": str(_SHARED_MEMORY if shared else self.folder)}
        with (self.folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                bound_to_this_process(command),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.reaper.watch(self._process.pid)
        self.frozen = False

    def exit_code(self) -> int | None:
        """None while its kernel runs; 0 after it was shut down, another after a panic."""
        return None if self._process is None else self._process.poll()

    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ask_to_shut_down(self) -> bool:
        """Press the power button, as EC2 does first; whether the kernel took it."""
        return self._mconsole("cad") is not None

    def freeze(self) -> None:
        """Stop every process of the kernel, as if the hardware stood still."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def kill(self) -> None:
        """Cut its power, and wait until every process of it has ended."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self.reaper.forget(self._process.pid)
            self._process = None

    def remove(self) -> None:
        """Cut its power, and remove its disk."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def console(self) -> str:
        """The end of what it wrote to its console."""
        with suppress(OSError):
            raw = (self.folder / "console").read_bytes()[-_CONSOLE_BYTES:]
            return raw.decode(errors="replace")
        return ""

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{self.slot.ports[port]}"

    def facts(self) -> dict[str, Any] | None:
        """Boot id, uptime and processes, from its agent; None where it does not answer."""
        return self._agent("GET", "", None, _ANSWER_S)

    def answer_of_kernel(self) -> dict[str, Any] | None:
        """Nothing, from its management console; None where even the kernel does not answer."""
        return None if self._mconsole("version") is None else {}

    def run(self, kind: str, *words: str) -> dict[str, Any] | None:
        """Run one of its `documents` or `faults`: `code` and `output`, or None without answer."""
        seconds = _SCRIPT_S if kind == "documents" else _FAULT_S
        return self._agent("POST", f"/{kind}", list(words), seconds)

    def read(self, port: int, path: str) -> str:
        """What it answers at a port of its own; empty where it does not."""
        if not self.is_on():
            return ""
        try:
            answer = _http().get(self.url(port) + path, timeout=_SCRAPE_S)
            return answer.raise_for_status().text
        except httpx.HTTPError:
            return ""

    def _agent(
        self, method: str, path: str, body: object, timeout_s: float
    ) -> dict[str, Any] | None:
        if not self.is_on():
            return None
        try:
            url = self.url(AGENT) + path
            told: dict[str, Any] = _http().request(method, url, json=body, timeout=timeout_s).json()
        except (httpx.HTTPError, ValueError):
            return None
        return told

    def _mconsole(self, command: str) -> str | None:
        if not self.is_on() or self.frozen:
            return None
        return kernel_console.tell(self.folder / self.name / "mconsole", command)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            # Its helpers may outlive it: the session has its number until the last has ended.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@functools.cache
def _http() -> httpx.Client:
    """One for all machines: each new client takes 25 to 40 ms of the processor.

    It keeps no connection, since a machine that was booted again knows none of before.
    """
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
