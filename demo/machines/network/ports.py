"""The switch of the machines, and the ports of loopback that lead to each of them."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from demo.machines.network import switch
from demo.machines.network.port_filter import Access
from demo.machines.programs import Programs
from demo.stack.processes import ProcessError, bound_to_this_process, free_port

# As many machines as the switch has addresses for, replacements included.
SLOTS = 16
_FIRST = 16
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
    """Use as a context manager, from a thread that lasts: the switch ends with that thread.

    A machine reaches other machines through the switch, and nothing else: libslirp is `restricted`.
    """

    programs: Programs
    folder: Path
    slots: list[Slot] = field(default_factory=list, init=False)
    _told: dict[tuple[int, str], str] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __enter__(self) -> Self:
        """Raises ProcessError."""
        self.slots = [
            Slot(number=number, ports={port: free_port() for port in (SERVICE, EXPORTER, AGENT)})
            for number in range(SLOTS)
        ]
        forwards = ",".join(
            f"127.0.0.1:{outer}:{slot.address}:{inner}"
            for slot in self.slots
            for inner, outer in slot.ports.items()
        )
        command: list[str | Path] = [
            *(sys.executable, "-m", switch.__name__, self.folder, str(SLOTS)),
            *(self.programs.plug, f"slirp:///v4/restricted/tcpfwd={forwards}"),
        ]
        # This Python must not load the libraries of vde_plug.
        env = {**os.environ, **{f"PLUG_{key}": value for key, value in self.programs.env.items()}}
        with (self.folder / "switch.log").open("wb") as log:
            self._process = subprocess.Popen(
                bound_to_this_process(command),
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise ProcessError(f"the switch did not start; see {self.folder / 'switch.log'}")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def socket(self, slot: Slot) -> Path:
        """The port of the switch at which the machine of this slot has its network card."""
        return self.folder / f"port-{slot.number}"

    def allow(self, slot: Slot, access: Access) -> None:
        """Let through what the security groups of the machine do."""
        self._tell(slot, "access", access)

    def lose(self, slot: Slot, share: float) -> None:
        """Lose this share of its frames, in both directions."""
        self._tell(slot, "loss", f"{share:g}")

    def plug(self, slot: Slot, *, into: bool) -> None:
        """Plug its cable in, or pull it out."""
        self._tell(slot, "plugged", str(int(into)))

    def restore(self, slot: Slot) -> None:
        """A machine is new at this slot: its cable is in, and no frame is lost."""
        self.lose(slot, 0.0)
        self.plug(slot, into=True)

    def _tell(self, slot: Slot, what: str, value: str) -> None:
        with self._lock:
            if self._told.get((slot.number, what)) == value or self._process.stdin is None:
                return
            self._told[slot.number, what] = value
            self._process.stdin.write(f"{slot.number} {what} {value}\n".encode())
            self._process.stdin.flush()
