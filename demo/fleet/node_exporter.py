"""A host's metrics, as node_exporter and the host's service expose them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from demo.fleet.workload import CPUS, DISK_BYTES, MEMORY_BYTES, Moments

# Each counter, the level that it integrates over time, and a factor.
_INTEGRALS: tuple[tuple[str, str, float], ...] = (
    *(
        (f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}}', f"cpu_{mode}", 1.0)
        for cpu in range(CPUS)
        for mode in ("user", "system", "iowait")
    ),
    ('node_disk_read_bytes_total{device="nvme0n1"}', "read_bytes", 1.0),
    ('node_disk_written_bytes_total{device="nvme0n1"}', "written_bytes", 1.0),
    ('node_disk_reads_completed_total{device="nvme0n1"}', "reads", 1.0),
    ('node_disk_writes_completed_total{device="nvme0n1"}', "writes", 1.0),
    ('node_disk_io_time_seconds_total{device="nvme0n1"}', "io_time", 1.0),
    ('node_disk_io_time_weighted_seconds_total{device="nvme0n1"}', "io_time", 2.5),
    ('node_disk_read_time_seconds_total{device="nvme0n1"}', "reads", 0.001),
    ('node_disk_write_time_seconds_total{device="nvme0n1"}', "writes", 0.002),
    ('node_network_receive_bytes_total{device="eth0"}', "rx_bytes", 1.0),
    ('node_network_transmit_bytes_total{device="eth0"}', "tx_bytes", 1.0),
    ('node_network_receive_packets_total{device="eth0"}', "rx_packets", 1.0),
    ('node_network_transmit_packets_total{device="eth0"}', "tx_packets", 1.0),
    ("node_vmstat_pswpin", "swapped", 0.6),
    ("node_vmstat_pswpout", "swapped", 1.0),
    ("node_netstat_Tcp_ActiveOpens", "opens", 0.3),
    ("node_netstat_Tcp_PassiveOpens", "opens", 1.0),
    ("node_netstat_Tcp_InSegs", "rx_packets", 1.0),
    ("node_netstat_Tcp_OutSegs", "tx_packets", 1.0),
    ("node_netstat_Tcp_RetransSegs", "retransmits", 1.0),
    ("node_netstat_Tcp_OutRsts", "resets", 1.0),
    ("service_requests_total", "answered", 1.0),
    ("service_errors_total", "errors", 1.0),
)
_LOADS = (("node_load1", 60.0), ("node_load5", 300.0), ("node_load15", 900.0))


@dataclass
class Exporter:
    """The counters and loads of a host since its boot; all times are epoch seconds."""

    booted_at: float
    at: float
    counters: dict[str, float] = field(default_factory=dict)
    loads: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [name for name, _, _ in _INTEGRALS]
        names += [_idle(cpu) for cpu in range(CPUS)]
        for name in names:
            self.counters.setdefault(name, 0.0)
        for name, _ in _LOADS:
            self.loads.setdefault(name, 0.0)

    def advance(self, levels: Mapping[str, Moments], to: float) -> None:
        """Advance the counters to time `to`, at `levels` (scalars) since the last call."""
        seconds = max(0.0, to - self.at)
        self.at += seconds
        for name, level, factor in _INTEGRALS:
            self.counters[name] += float(levels[level]) * factor * seconds
        busy = sum(float(levels[f"cpu_{mode}"]) for mode in ("user", "system", "iowait"))
        for cpu in range(CPUS):
            self.counters[_idle(cpu)] += max(0.0, 1 - busy) * seconds
        for name, time_s in _LOADS:
            weight = 1 - math.exp(-seconds / time_s)
            self.loads[name] += (float(levels["runnable"]) - self.loads[name]) * weight

    def samples(self, levels: Mapping[str, Moments]) -> Iterator[tuple[str, float]]:
        """Series and their present values."""
        yield from self.counters.items()
        yield from self.loads.items()
        yield from ((name, float(value)) for name, value in gauges(levels))
        yield "node_boot_time_seconds", self.booted_at
        yield "node_time_seconds", self.at


def gauges(levels: Mapping[str, Moments]) -> Iterator[tuple[str, Moments]]:
    """The gauges: metrics that are levels, not counters."""
    free, disk = MEMORY_BYTES - levels["memory_used"], DISK_BYTES - levels["disk_used"]
    nothing, established = np.zeros(()), levels["established"]
    yield "node_memory_MemTotal_bytes", nothing + MEMORY_BYTES
    yield "node_memory_MemAvailable_bytes", free
    yield "node_memory_MemFree_bytes", 0.6 * free
    yield "node_memory_Cached_bytes", 0.35 * free
    yield "node_memory_Buffers_bytes", 0.05 * free
    yield "node_memory_Shmem_bytes", nothing + 2.0**26
    labels = '{device="/dev/nvme0n1p1",fstype="ext4",mountpoint="/"}'
    yield f"node_filesystem_size_bytes{labels}", nothing + DISK_BYTES
    yield f"node_filesystem_avail_bytes{labels}", disk
    yield f"node_filesystem_free_bytes{labels}", disk
    yield "node_netstat_Tcp_CurrEstab", established
    yield "node_sockstat_TCP_inuse", established + 12
    yield "node_sockstat_TCP_tw", levels["time_wait"]
    yield "service_latency_seconds", levels["latency_s"]
    yield "service_up", nothing + levels["service_up"]


def exposition(samples: Iterator[tuple[str, float]]) -> str:
    """Render the samples in Prometheus' text format."""
    return "".join(f"{series} {value!r}\n" for series, value in samples)


def past(
    levels: Mapping[str, Moments], at: Moments, booted_at: float
) -> tuple[Exporter, list[tuple[str, Moments]]]:
    """Simulate a past at these levels (arrays over `at`). Returns the exporter and its series."""
    lasted = np.diff(at, prepend=at[0])
    exporter = Exporter(booted_at=booted_at, at=float(at[-1]))
    series: list[tuple[str, Moments]] = []
    for name, level, factor in _INTEGRALS:
        series.append((name, np.cumsum(np.broadcast_to(levels[level], at.shape) * factor * lasted)))
    busy = sum(np.broadcast_to(levels[f"cpu_{m}"], at.shape) for m in ("user", "system", "iowait"))
    idle = np.cumsum(np.maximum(0.0, 1 - np.asarray(busy)) * lasted)
    series += [(_idle(cpu), idle) for cpu in range(CPUS)]
    exporter.counters |= {name: float(values[-1]) for name, values in series}
    for name, time_s in _LOADS:
        values = _damped(np.broadcast_to(levels["runnable"], at.shape), lasted, time_s)
        exporter.loads[name] = float(values[-1])
        series.append((name, values))
    series += [(name, np.broadcast_to(value, at.shape)) for name, value in gauges(levels)]
    series.append(("node_boot_time_seconds", np.ones(at.shape) * booted_at))
    return exporter, series


def _damped(level: Moments, lasted: Moments, time_s: float) -> Moments:
    weights = 1 - np.exp(-lasted / time_s)
    values, value = np.empty(level.shape), float(level[0])
    for index, weight in enumerate(weights):
        value += (float(level[index]) - value) * float(weight)
        values[index] = value
    return values


def _idle(cpu: int) -> str:
    return f'node_cpu_seconds_total{{cpu="{cpu}",mode="idle"}}'
