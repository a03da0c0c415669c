"""The model's roles of a machine, from what its exporter says at two moments."""

from collections.abc import Mapping

Reading = Mapping[str, float]
_DISK, _CARD, _DATA = 'device="ubda"', 'device="eth0"', 'mountpoint="/data"'
# Role and metric: rates of counters, and gauges as they are.
_RATES = {
    "cpu_iowait": 'node_cpu_seconds_total{cpu="0",mode="iowait"}',
    "tcp_passive_opens": "node_netstat_Tcp_PassiveOpens",
    "tcp_out_rsts": "node_netstat_Tcp_OutRsts",
    "tcp_retrans": "node_netstat_Tcp_RetransSegs",
    "disk_read_bytes": f"node_disk_read_bytes_total{{{_DISK}}}",
    "disk_write_bytes": f"node_disk_written_bytes_total{{{_DISK}}}",
    "disk_util": f"node_disk_io_time_seconds_total{{{_DISK}}}",
    "net_rx_bytes": f"node_network_receive_bytes_total{{{_CARD}}}",
    "net_tx_bytes": f"node_network_transmit_bytes_total{{{_CARD}}}",
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
ROLES = (*_RATES, *_GAUGES, "cpu_busy", "memory_used_effective", "filesystem_used")
_IDLE = 'node_cpu_seconds_total{cpu="0",mode="idle"}'


def levels(before: Reading, now: Reading) -> list[float] | None:
    """A value for each of ROLES, or None where the machine was booted in between."""
    seconds = now["node_time_seconds"] - before["node_time_seconds"]
    if seconds <= 0 or now["node_boot_time_seconds"] > before["node_time_seconds"]:
        return None

    def rate(metric: str) -> float:
        return max(0.0, now[metric] - before[metric]) / seconds

    values = [rate(metric) for metric in _RATES.values()]
    values += [now.get(metric, 0.0) for metric in _GAUGES.values()]
    total = now["node_memory_MemTotal_bytes"]
    size = now[_filesystem(now, "size")]
    return [
        *values,
        min(1.0, max(0.0, 1 - rate(_IDLE))),
        total - now["node_memory_MemAvailable_bytes"],
        1 - now[_filesystem(now, "avail")] / size,
    ]


def _filesystem(reading: Reading, kind: str) -> str:
    name = f"node_filesystem_{kind}_bytes"
    return next(key for key in reading if key.startswith(name) and _DATA in key)
