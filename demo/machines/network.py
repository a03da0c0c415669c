"""The switch of the machines, and the ports of loopback that lead to each of them."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from demo.machines.programs import Programs
from demo.stack.processes import ProcessError, bound_to_this_process, free_port

# As many machines as the switch has addresses for, replacements included.
SLOTS = 16
_FIRST = 16
_READY_S = 10
SERVICE, EXPORTER, AGENT = 8080, 9100, 9000


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place on the switch: an address, and for each port of the machine one of loopback."""

    number: int
    ports: dict[int, int]

    @property
    def address(self) -> str:
        return f"10.0.2.{_FIRST + self.number}"

    @property
    def mac(self) -> str:
        return f"52:54:00:00:00:{_FIRST + self.number:02x}"


@dataclass
class Network:
    """Use as a context manager, from a thread that lasts: its processes end with that thread.

    A machine reaches other machines through the switch, and nothing else: libslirp is `restricted`.
    """

    programs: Programs
    folder: Path
    slots: list[Slot] = field(default_factory=list, init=False)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "switch"

    def __enter__(self) -> Self:
        """Raises ProcessError."""
        self.slots = [
            Slot(number=number, ports={port: free_port() for port in (SERVICE, EXPORTER, AGENT)})
            for number in range(SLOTS)
        ]
        # It ends with its standard input: https://manpages.debian.org/bookworm/vde-switch/vde_switch.1
        self._start("switch", self.programs.switch, "-s", self.socket, stdin=subprocess.PIPE)
        self._wait(self.socket / "ctl")
        forwards = ",".join(
            f"127.0.0.1:{outer}:{slot.address}:{inner}"
            for slot in self.slots
            for inner, outer in slot.ports.items()
        )
        slirp = f"slirp:///v4/restricted/tcpfwd={forwards}"
        self._start("plug", self.programs.plug, f"vde://{self.socket}", slirp)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _start(self, name: str, *command: str | Path, stdin: int = subprocess.DEVNULL) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                bound_to_this_process(command),
                env=dict(self.programs.env),
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait(self, path: Path) -> None:
        until = time.monotonic() + _READY_S
        while not path.exists():
            if time.monotonic() > until:
                raise ProcessError(f"the switch did not start; see {self.folder / 'switch.log'}")
            time.sleep(0.02)
