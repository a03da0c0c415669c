"""The switch of the machines, a program of its own: `FOLDER`, the number of ports, and vde_plug.

A machine's port is a socket of the file system, `FOLDER/port-NUMBER`, to which its kernel connects
by the transport `bess`: a packet of the socket is an Ethernet frame
(https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html). The way to loopback is a child
process, vde_plug with libslirp: a frame on its pipes follows its length in two bytes. The program
reads a command a line, `NUMBER access open`, `NUMBER loss 0.3` or `NUMBER plugged 0`, and ends with
its input.
"""

import functools
import os
import random
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demo.machines.network.port_filter import Access, PortFilter
from demo.stack.processes import bound_to_this_process

_FRAME_MAX = 65_536
_BURST = 64
# Frames are lost, as by a switch, where a receiver does not take them.
_UPLINK_MAX = 1 << 20
_RETRY_S = 0.01
_GROUP_BIT = 0x01
_LENGTH = struct.Struct("!H")
_PREFIX, _PLUG_ENV = "PLUG_", ("LD_LIBRARY_PATH", "VDEPLUGIN_PATH", "PATH")


@dataclass
class Port:
    """The machine's side of a port; `link` is None while its power is off."""

    listener: socket.socket
    filter: PortFilter
    link: socket.socket | None = None

    def send(self, frame: bytes, now: float) -> None:
        if self.link is not None and self.filter.passes(frame, now):
            with suppress(OSError):
                self.link.send(frame)

    def receive(self) -> Iterator[bytes]:
        """The frames that have come; without a link afterwards if its machine has gone."""
        for _ in range(_BURST):
            if self.link is None:
                return
            try:
                frame = self.link.recv(_FRAME_MAX)
            except BlockingIOError:
                return
            except OSError:
                frame = b""
            if not frame:
                self.link = None
                return
            yield frame


@dataclass
class Uplink:
    """The stream of frames to and from vde_plug."""

    stream: socket.socket
    _read: bytearray = field(default_factory=bytearray)
    _written: bytearray = field(default_factory=bytearray)

    def send(self, frame: bytes) -> None:
        if len(self._written) < _UPLINK_MAX:
            self._written += _LENGTH.pack(len(frame)) + frame
        self.flush()

    def flush(self) -> bool:
        """Whether everything is written."""
        with suppress(BlockingIOError):
            while self._written:
                del self._written[: self.stream.send(self._written)]
        return not self._written

    def receive(self) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            self._read += self.stream.recv(_FRAME_MAX)
        while len(self._read) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._read)
            end = _LENGTH.size + length
            if len(self._read) < end:
                return
            frame = bytes(self._read[_LENGTH.size : end])
            del self._read[:end]
            yield frame


@dataclass
class Switch:
    """Forwards frames by the addresses that it has seen, else to every port."""

    ports: list[Port]
    uplink: Uplink
    _by_address: dict[bytes, Port | Uplink] = field(default_factory=dict, init=False)

    def forward(self, frame: bytes, source: Port | Uplink) -> None:
        now = time.monotonic()
        if isinstance(source, Port) and not source.filter.passes(frame, now):
            return
        self._by_address[frame[6:12]] = source
        known = None if frame[0] & _GROUP_BIT else self._by_address.get(frame[:6])
        targets: list[Port | Uplink] = [known] if known else [*self.ports, self.uplink]
        for target in targets:
            if target is source:
                continue
            if isinstance(target, Port):
                target.send(frame, now)
            else:
                target.send(frame)

    def obey(self, line: str) -> None:
        """Raises ValueError, IndexError where the command is none."""
        number, what, value = line.split()
        port_filter = self.ports[int(number)].filter
        match what:
            case "access":
                port_filter.access = Access(value)
            case "loss":
                port_filter.loss = float(value)
            case "plugged":
                port_filter.plugged = value == "1"
            case _:
                raise ValueError(line)


@dataclass
class Loop:
    """Waits for frames, machines that connect, and commands from the file `commands`."""

    switch: Switch
    commands: int
    selector: selectors.BaseSelector
    _rest: bytes = b""
    _ended: bool = False

    def run(self) -> None:
        """Until the commands end."""
        for port in self.switch.ports:
            self._watch(port.listener, functools.partial(self._connect, port))
        self._watch(self.switch.uplink.stream, self._pass_down)
        self.selector.register(self.commands, selectors.EVENT_READ, self._obey)
        while not self._ended:
            for key, _ in self.selector.select(None if self.switch.uplink.flush() else _RETRY_S):
                key.data()

    def _watch(self, link: socket.socket, act: Callable[[], None]) -> None:
        link.settimeout(0)
        self.selector.register(link, selectors.EVENT_READ, act)

    def _connect(self, port: Port) -> None:
        if port.link is not None:
            self.selector.unregister(port.link)
            port.link.close()
        port.link, _ = port.listener.accept()
        self._watch(port.link, functools.partial(self._take, port))

    def _take(self, port: Port) -> None:
        link = port.link
        for frame in port.receive():
            self.switch.forward(frame, port)
        if port.link is None and link is not None:
            self.selector.unregister(link)
            link.close()

    def _pass_down(self) -> None:
        for frame in self.switch.uplink.receive():
            self.switch.forward(frame, self.switch.uplink)

    def _obey(self) -> None:
        read = os.read(self.commands, _FRAME_MAX)
        self._ended = not read
        *lines, self._rest = (self._rest + read).split(b"\n")
        for line in lines:
            self.switch.obey(line.decode())


def main(folder: Path, ports: int, plug: Sequence[str | Path]) -> None:
    ours, theirs = socket.socketpair()
    listeners = []
    for number in range(ports):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(folder / f"port-{number}"))
        listener.listen()
        listeners.append(listener)
    chance = random.Random(ports)
    switch = Switch([Port(each, PortFilter(chance)) for each in listeners], Uplink(ours))
    # Its own environment has another prefix here, as it is not that of this program.
    env = {name: os.environ[f"{_PREFIX}{name}"] for name in _PLUG_ENV}
    command = bound_to_this_process(plug)
    with subprocess.Popen(
        command, env=env, stdin=theirs.fileno(), stdout=theirs.fileno()
    ) as process:
        theirs.close()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        with selectors.DefaultSelector() as selector:
            Loop(switch, sys.stdin.fileno(), selector).run()
        process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
