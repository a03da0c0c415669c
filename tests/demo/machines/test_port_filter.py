"""What a security group stops at a machine's port, and what it lets go on."""

import random
import struct

import pytest

from demo.machines.network.port_filter import Access, PortFilter

_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_ARP = bytes(12) + struct.pack("!H", 0x0806) + bytes(28)


def _frame(*, port: int = 40_000, flags: int = _ACK, back: bool = False) -> bytes:
    """A TCP segment of a caller's connection to the service, or one back from it."""
    ends = [(b"\x0a\0\x02\x02", port), (b"\x0a\0\x02\x10", 8080)]
    (source, sport), (target, dport) = reversed(ends) if back else ends
    ip = struct.pack("!BxHxxxxBBxx4s4s", 0x45, 40, 64, 6, source, target)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, 0, 0, 0x50, flags, 0, 0, 0)
    return bytes(12) + struct.pack("!H", 0x0800) + ip + tcp


@pytest.fixture
def port() -> PortFilter:
    """One at which a connection is open."""
    port = PortFilter(random.Random(1))  # noqa: S311 lost frames are no secrets
    assert port.passes(_frame(flags=_SYN), 0.0)
    assert port.passes(_frame(flags=_SYN | _ACK, back=True), 0.0)
    return port


def test_a_tracked_connection_goes_on_and_no_other_begins(port: PortFilter) -> None:
    """In both directions, and not after it was reset."""
    port.access = Access.TRACKED
    assert port.passes(_frame(), 1.0)
    assert port.passes(_frame(back=True), 1.0)
    assert not port.passes(_frame(port=40_001), 1.0)
    assert not port.passes(_frame(port=40_001, flags=_SYN), 1.0)
    assert not port.passes(_frame(port=40_001, flags=_SYN, back=True), 1.0)
    assert port.passes(_frame(flags=_RST), 2.0)
    assert not port.passes(_frame(), 3.0)


def test_a_tracked_connection_without_traffic_is_forgotten(port: PortFilter) -> None:
    """After 350 s, as by current instance types."""
    port.access = Access.TRACKED
    assert port.passes(_frame(), 349.0)
    assert not port.passes(_frame(), 700.0)


def test_an_untracked_connection_ends_at_once(port: PortFilter) -> None:
    """Though ARP is answered still, as EC2's instance status check needs."""
    port.access = Access.CLOSED
    assert not port.passes(_frame(), 1.0)
    assert not port.passes(_frame(back=True), 1.0)
    assert port.passes(_ARP, 1.0)
    port.access = Access.OPEN
    assert port.passes(_frame(), 2.0)


def test_frames_get_lost_by_their_share(port: PortFilter) -> None:
    port.loss = 0.3
    passed = sum(port.passes(_frame(), 1.0) for _ in range(1_000))
    assert 640 < passed < 760


def test_nothing_passes_a_cable_that_is_out(port: PortFilter) -> None:
    port.plugged = False
    assert not port.passes(_ARP, 1.0)
    assert not port.passes(_frame(), 1.0)
