"""The table of roles, each defined once as PromQL over node_exporter's metrics.

A role is a canonical name for one quantity of one machine. Its expression yields one series per
`instance_id`, from any exporter, device or scrape job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

# Virtual devices count the work of the physical devices again.
_DISK = 'device!~"(loop|z?ram|sr|fd|dm-|md)[0-9]*"'
_NETWORK = 'device!~"lo|(veth|docker|br-|cali|flannel|virbr|tun|tap).*"'
_FILESYSTEM = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|autofs|nsfs"'
# A count below this is shown with a decimal, a larger one with a prefix such as k or M.
_ONE_DIGIT, _KILO = 10, 1000


class Unit(StrEnum):
    RATIO = "ratio"
    BYTES = "bytes"
    BYTES_PER_SECOND = "bytes/s"
    COUNT = "count"
    PER_SECOND = "1/s"
    SECONDS = "s"


# A larger value comes from a broken exporter, a misread counter, or percent; no machine uses less
# than a megabyte of memory.
_BELIEVABLE: Mapping[Unit, tuple[float, float]] = {
    Unit.RATIO: (-0.5, 1.5),
    Unit.BYTES: (2.0**20, 2.0**50),
    Unit.BYTES_PER_SECOND: (0, 2.0**43),
    Unit.COUNT: (0, 1e8),
    Unit.PER_SECOND: (0, 1e9),
    Unit.SECONDS: (0, 1e6),
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """One quantity.

    `noise` is the least deviation that counts, `step` the least change that counts; both in the
    role's unit, so that a small change after a quiet past is not hundreds of sigmas.
    """

    name: str
    unit: Unit
    expr: str
    noise: float
    step: float

    @property
    def believable(self) -> tuple[float, float]:
        """The least and the largest value of a machine, with a margin for late scrapes."""
        return _BELIEVABLE[self.unit]

    def is_believable(self, value: float) -> bool:
        least, most = self.believable
        return least <= value <= most

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
        Role(
            name="cpu_busy",
            unit=Unit.RATIO,
            expr="1 - avg without (cpu, mode) "
            '($counter(node_cpu_seconds_total{mode="idle",$of}[$window]))',
            noise=0.02,
            step=0.15,
        ),
        *(
            Role(
                name=f"cpu_{mode}",
                unit=Unit.RATIO,
                expr="avg without (cpu, mode) "
                f'($counter(node_cpu_seconds_total{{mode="{mode}",$of}}[$window]))',
                noise=0.02,
                step=0.1,
            )
            for mode in ("iowait", "steal")
        ),
        *(
            Role(
                name=f"load{minutes}",
                unit=Unit.COUNT,
                expr=f"$gauge(node_load{minutes}{{$of}}[$window])",
                noise=0.2,
                step=0.5,
            )
            for minutes in (1, 5)
        ),
        Role(
            name="memory_used_effective",
            unit=Unit.BYTES,
            expr="$gauge(node_memory_MemTotal_bytes{$of}[$window])"
            " - $gauge(node_memory_MemAvailable_bytes{$of}[$window])",
            noise=2.0**24,
            step=2.0**27,
        ),
        *(
            Role(
                name=name,
                unit=Unit.PER_SECOND,
                expr=f"$counter({metric}{{$of}}[$window])",
                noise=noise,
                step=10 * noise,
            )
            for name, metric, noise in (
                ("swap_in", "node_vmstat_pswpin", 5.0),
                ("swap_out", "node_vmstat_pswpout", 5.0),
                ("tcp_passive_opens", "node_netstat_Tcp_PassiveOpens", 1.0),
                ("tcp_out_rsts", "node_netstat_Tcp_OutRsts", 1.0),
                ("tcp_retrans", "node_netstat_Tcp_RetransSegs", 1.0),
            )
        ),
        Role(
            name="disk_await",
            unit=Unit.SECONDS,
            expr="sum without (device) ("
            f"$counter(node_disk_read_time_seconds_total{{{_DISK},$of}}[$window])"
            f" + $counter(node_disk_write_time_seconds_total{{{_DISK},$of}}[$window]))"
            " / (sum without (device) ("
            f"$counter(node_disk_reads_completed_total{{{_DISK},$of}}[$window])"
            f" + $counter(node_disk_writes_completed_total{{{_DISK},$of}}[$window])) > 0)",
            noise=0.001,
            step=0.01,
        ),
        Role(
            name="filesystem_used",
            unit=Unit.RATIO,
            expr="max without (device, fstype, mountpoint) ("
            f"1 - $gauge(node_filesystem_avail_bytes{{{_FILESYSTEM},$of}}[$window])"
            f" / $gauge(node_filesystem_size_bytes{{{_FILESYSTEM},$of}}[$window]))",
            noise=0.01,
            step=0.05,
        ),
        *(
            Role(
                name=name,
                unit=Unit.BYTES_PER_SECOND,
                expr=f"sum without (device) ($counter({metric}{{{_DISK},$of}}[$window]))",
                noise=2.0**16,
                step=2.0**20,
            )
            for name, metric in (
                ("disk_read_bytes", "node_disk_read_bytes_total"),
                ("disk_write_bytes", "node_disk_written_bytes_total"),
            )
        ),
        Role(
            name="disk_util",
            unit=Unit.RATIO,
            expr="max without (device) "
            f"($counter(node_disk_io_time_seconds_total{{{_DISK},$of}}[$window]))",
            noise=0.02,
            step=0.1,
        ),
        *(
            Role(
                name=name,
                unit=Unit.BYTES_PER_SECOND,
                expr=f"sum without (device) ($counter({metric}{{{_NETWORK},$of}}[$window]))",
                noise=2.0**12,
                step=2.0**14,
            )
            for name, metric in (
                ("net_rx_bytes", "node_network_receive_bytes_total"),
                ("net_tx_bytes", "node_network_transmit_bytes_total"),
            )
        ),
        *(
            Role(
                name=name,
                unit=Unit.COUNT,
                expr=f"$gauge({metric}{{$of}}[$window])",
                noise=3.0,
                step=10.0,
            )
            for name, metric in (
                ("tcp_established", "node_netstat_Tcp_CurrEstab"),
                ("tcp_in_use", "node_sockstat_TCP_inuse"),
                ("tcp_time_wait", "node_sockstat_TCP_tw"),
            )
        ),
        Role(
            name="latency",
            unit=Unit.SECONDS,
            expr="$gauge(service_latency_seconds{$of}[$window])",
            noise=0.005,
            step=0.05,
        ),
        Role(
            name="service_up",
            unit=Unit.RATIO,
            expr="$gauge(service_up{$of}[$window])",
            noise=0.05,
            step=0.5,
        ),
    )
}

# The roles of the shipped rules. For any other alert name every role is compared.
ROLES_OF_ALERT: Mapping[str, frozenset[str]] = {
    "HighCPU": frozenset({"cpu_busy"}),
    "HostHighCpuLoad": frozenset({"cpu_busy"}),
    "NodeCPUHighUsage": frozenset({"cpu_busy"}),
    "HighLoad": frozenset({"load1"}),
    "NodeSystemSaturation": frozenset({"load1"}),
    "HighMemory": frozenset({"memory_used_effective"}),
    "HostOutOfMemory": frozenset({"memory_used_effective"}),
    "NodeMemoryHighUtilization": frozenset({"memory_used_effective"}),
    "DiskSpaceLow": frozenset({"filesystem_used"}),
}


def _scaled(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G"):
        if abs(value) < _KILO:
            return f"{value:.3g} {prefix}{unit}"
        value /= _KILO
    return f"{value:.3g} T{unit}"
