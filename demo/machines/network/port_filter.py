"""What a port of the switch lets through: the security group of its machine, and lost frames."""

import random
import struct
from dataclasses import dataclass, field
from enum import StrEnum

_IPV4, _ARP = 0x0800, 0x0806
_TCP, _UDP = 6, 17
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_HEADER, _LEAST = 14, 34
# A tracked TCP connection without traffic is forgotten after that time by current instance types.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
_IDLE_S = 350.0
_FLOWS_MAX = 4_096

Flow = tuple[int, frozenset[tuple[bytes, int]]]


class Access(StrEnum):
    """OPEN lets everything through, TRACKED the connections of before, CLOSED nothing.

    "an interruption of an untracked connection is immediate [...] a tracked connection is not
    interrupted when you remove the security group rule" (the page above).
    """

    OPEN = "open"
    TRACKED = "tracked"
    CLOSED = "closed"


@dataclass
class PortFilter:
    """`loss` is the share of frames that get lost; an unplugged port has no link at all."""

    chance: random.Random
    access: Access = Access.OPEN
    loss: float = 0.0
    plugged: bool = True
    _flows: dict[Flow, float] = field(default_factory=dict)

    def passes(self, frame: bytes, now: float) -> bool:
        """Whether a frame passes, in either direction. ARP is not subject to security groups."""
        if not self.plugged or (self.loss and self.chance.random() < self.loss):
            return False
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == _ARP:
            return True
        is_whole = kind == _IPV4 and len(frame) >= _LEAST
        flow, begins, ends = _flow(frame) if is_whole else (None, False, False)
        if self.access is Access.OPEN:
            if flow is not None:
                self._note(flow, now, ends=ends)
            return True
        if self.access is Access.CLOSED or flow is None or begins:
            return False
        if now - self._flows.get(flow, -_IDLE_S) >= _IDLE_S:
            return False
        self._note(flow, now, ends=ends)
        return True

    def _note(self, flow: Flow, now: float, *, ends: bool) -> None:
        if ends:
            self._flows.pop(flow, None)
            return
        if len(self._flows) >= _FLOWS_MAX:
            kept = sorted(self._flows.items(), key=lambda item: item[1])[_FLOWS_MAX // 2 :]
            self._flows = dict(kept)
        self._flows[flow] = now


def _flow(frame: bytes) -> tuple[Flow | None, bool, bool]:
    """The connection of an IPv4 packet; whether the packet asks for a new one, or resets it."""
    start = _HEADER + 4 * (frame[_HEADER] & 0x0F)
    protocol = frame[_HEADER + 9]
    ends = [frame[_HEADER + 12 : _HEADER + 16], frame[_HEADER + 16 : _HEADER + 20]]
    if protocol not in {_TCP, _UDP} or len(frame) < start + _HEADER:
        return (protocol, frozenset((address, 0) for address in ends)), False, False
    ports = struct.unpack_from("!HH", frame, start)
    flags = frame[start + 13] if protocol == _TCP else 0
    begins = flags & (_SYN | _ACK) == _SYN
    return (protocol, frozenset(zip(ends, ports, strict=True))), begins, bool(flags & _RST)
