"""The model's roles of a machine, from what its exporter says at two moments."""

import functools
from collections.abc import Mapping, Sequence

Reading = Mapping[str, float]
# Role and metric: rates of counters, and gauges as they are. Of devices those that count nothing
# twice are added up.
_RATES = {
    "tcp_passive_opens": "node_netstat_Tcp_PassiveOpens",
    "tcp_out_rsts": "node_netstat_Tcp_OutRsts",
    "tcp_retrans": "node_netstat_Tcp_RetransSegs",
    "disk_read_bytes": "node_disk_read_bytes_total",
    "disk_write_bytes": "node_disk_written_bytes_total",
    "disk_util": "node_disk_io_time_seconds_total",
    "net_rx_bytes": "node_network_receive_bytes_total",
    "net_tx_bytes": "node_network_transmit_bytes_total",
}
_GAUGES = {
    "load1": "node_load1",
    "load5": "node_load5",
    "tcp_established": "node_netstat_Tcp_CurrEstab",
    "tcp_in_use": "node_sockstat_TCP_inuse",
    "tcp_time_wait": "node_sockstat_TCP_tw",
    "latency": "service_latency_seconds",
    "service_up": "service_up",
}
ROLES = ("cpu_iowait", *_RATES, *_GAUGES, "cpu_busy", "memory_used_effective", "filesystem_used")
_CPU = "node_cpu_seconds_total"
_LOOPBACK = 'device="lo"'
_LEFT_OUT = ("/run", "/tmp")  # noqa: S108 mount points of a guest


def levels(before: Reading, now: Reading) -> list[float] | None:
    """A value for each of ROLES, or None where the machine was booted in between."""
    seconds = now["node_time_seconds"] - before["node_time_seconds"]
    if seconds <= 0 or now["node_boot_time_seconds"] > before["node_time_seconds"]:
        return None
    names = tuple(now)

    def rate(metric: str, part: str = "") -> float:
        keys = _named(names, metric, part)
        return max(0.0, sum(now[key] - before.get(key, 0.0) for key in keys)) / seconds

    cpus = len(_named(names, _CPU, 'mode="idle"'))
    total = now["node_memory_MemTotal_bytes"]
    (size,) = _named(names, "node_filesystem_size_bytes")
    (free,) = _named(names, "node_filesystem_avail_bytes")
    return [
        rate(_CPU, 'mode="iowait"') / cpus,
        *(rate(metric) for metric in _RATES.values()),
        *(now.get(metric, 0.0) for metric in _GAUGES.values()),
        min(1.0, max(0.0, 1 - rate(_CPU, 'mode="idle"') / cpus)),
        total - now["node_memory_MemAvailable_bytes"],
        1 - now[free] / now[size],
    ]


@functools.lru_cache(maxsize=256)
def _named(names: Sequence[str], metric: str, part: str = "") -> Sequence[str]:
    """The series of a metric, in one mode of the processors if `part` says so."""
    return [
        name
        for name in names
        if name.partition("{")[0] == metric
        and part in name
        and _LOOPBACK not in name
        and not any(f'mountpoint="{folder}"' in name for folder in _LEFT_OUT)
    ]
