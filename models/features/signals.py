"""The table of roles: canonical names for the quantities of one machine, from any exporter."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

# A count below this is shown with a decimal, a larger one with a prefix such as k or M.
_ONE_DIGIT, _KILO = 10, 1000


class Unit(StrEnum):
    RATIO = "ratio"
    BYTES = "bytes"
    BYTES_PER_SECOND = "bytes/s"
    COUNT = "count"
    PER_SECOND = "1/s"
    SECONDS = "s"


@dataclass(frozen=True)
class Role:
    """One quantity.

    `noise`, in its unit, is the least deviation that counts: a small change after a quiet past is
    not hundreds of sigmas.
    """

    name: str
    unit: Unit
    noise: float

    def text(self, value: float) -> str:
        """The value as a person reads it."""
        match self.unit:
            case Unit.RATIO:
                return f"{value * 100:.0f} %"
            case Unit.BYTES:
                return _scaled(value, "B")
            case Unit.BYTES_PER_SECOND:
                return _scaled(value, "B/s")
            case Unit.PER_SECOND:
                return f"{value:.3g}/s"
            case Unit.SECONDS:
                return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
            case Unit.COUNT:
                return f"{value:.1f}" if abs(value) < _ONE_DIGIT else f"{value:.0f}"


ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role("cpu_busy", Unit.RATIO, noise=0.02),
        Role("cpu_iowait", Unit.RATIO, noise=0.02),
        Role("cpu_steal", Unit.RATIO, noise=0.02),
        Role("load1", Unit.COUNT, noise=0.2),
        Role("load5", Unit.COUNT, noise=0.2),
        Role("memory_used_effective", Unit.BYTES, noise=2.0**24),
        Role("swap_in", Unit.PER_SECOND, noise=5.0),
        Role("swap_out", Unit.PER_SECOND, noise=5.0),
        Role("tcp_passive_opens", Unit.PER_SECOND, noise=1.0),
        Role("tcp_out_rsts", Unit.PER_SECOND, noise=1.0),
        Role("tcp_retrans", Unit.PER_SECOND, noise=1.0),
        Role("disk_await", Unit.SECONDS, noise=0.001),
        Role("filesystem_used", Unit.RATIO, noise=0.01),
        Role("disk_read_bytes", Unit.BYTES_PER_SECOND, noise=2.0**16),
        Role("disk_write_bytes", Unit.BYTES_PER_SECOND, noise=2.0**16),
        Role("disk_util", Unit.RATIO, noise=0.02),
        Role("net_rx_bytes", Unit.BYTES_PER_SECOND, noise=2.0**12),
        Role("net_tx_bytes", Unit.BYTES_PER_SECOND, noise=2.0**12),
        Role("tcp_established", Unit.COUNT, noise=3.0),
        Role("tcp_in_use", Unit.COUNT, noise=3.0),
        Role("tcp_time_wait", Unit.COUNT, noise=3.0),
        Role("latency", Unit.SECONDS, noise=0.005),
        Role("service_up", Unit.RATIO, noise=0.05),
    )
}


def _scaled(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G"):
        if abs(value) < _KILO:
            return f"{value:.3g} {prefix}{unit}"
        value /= _KILO
    return f"{value:.3g} T{unit}"
