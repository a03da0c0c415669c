"""The roles over node_exporter's metrics: an expression yields one series per `instance_id`."""

from receiver.evidence.roles.exporter import Exporter

# Virtual devices count the work of the physical devices again.
_DISK = 'device!~"(loop|z?ram|sr|fd|dm-|md)[0-9]*",'
_NETWORK = 'device!~"lo|(veth|docker|br-|cali|flannel|virbr|tun|tap).*",'
_FILESYSTEM = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|autofs|nsfs",'


def _counter(metric: str, matchers: str = "") -> str:
    return f"$counter({metric}{{{matchers}$of}}[$window])"


def _gauge(metric: str, matchers: str = "") -> str:
    return f"$gauge({metric}{{{matchers}$of}}[$window])"


def _cpu(mode: str) -> str:
    seconds = _counter("node_cpu_seconds_total", f'mode="{mode}",')
    return f"avg without (cpu, mode) ({seconds})"


def _devices(matchers: str, *metrics: str) -> str:
    """The sum of counters over the devices."""
    rates = " + ".join(_counter(metric, matchers) for metric in metrics)
    return f"sum without (device) ({rates})"


_DISK_TIME = _devices(
    _DISK, "node_disk_read_time_seconds_total", "node_disk_write_time_seconds_total"
)
_DISK_OPERATIONS = _devices(
    _DISK, "node_disk_reads_completed_total", "node_disk_writes_completed_total"
)
_FREE = _gauge("node_filesystem_avail_bytes", _FILESYSTEM)
_SIZE = _gauge("node_filesystem_size_bytes", _FILESYSTEM)
_MEMORY = _gauge("node_memory_MemTotal_bytes")

NODE_EXPORTER = Exporter(
    name="node_exporter",
    presence='node_cpu_seconds_total{mode="idle",$of}',
    boot_time="node_boot_time_seconds{$of}",
    exprs={
        "cpu_busy": f"1 - {_cpu('idle')}",
        "cpu_iowait": _cpu("iowait"),
        "cpu_steal": _cpu("steal"),
        "load1": _gauge("node_load1"),
        "load5": _gauge("node_load5"),
        "memory_used_effective": f"{_MEMORY} - {_gauge('node_memory_MemAvailable_bytes')}",
        "swap_in": _counter("node_vmstat_pswpin"),
        "swap_out": _counter("node_vmstat_pswpout"),
        "tcp_passive_opens": _counter("node_netstat_Tcp_PassiveOpens"),
        "tcp_out_rsts": _counter("node_netstat_Tcp_OutRsts"),
        "tcp_retrans": _counter("node_netstat_Tcp_RetransSegs"),
        "disk_await": f"{_DISK_TIME} / ({_DISK_OPERATIONS} > 0)",
        "filesystem_used": f"max without (device, fstype, mountpoint) (1 - {_FREE} / {_SIZE})",
        "disk_read_bytes": _devices(_DISK, "node_disk_read_bytes_total"),
        "disk_write_bytes": _devices(_DISK, "node_disk_written_bytes_total"),
        "disk_util": f"max without (device) ({_counter('node_disk_io_time_seconds_total', _DISK)})",
        "net_rx_bytes": _devices(_NETWORK, "node_network_receive_bytes_total"),
        "net_tx_bytes": _devices(_NETWORK, "node_network_transmit_bytes_total"),
        "tcp_established": _gauge("node_netstat_Tcp_CurrEstab"),
        "tcp_in_use": _gauge("node_sockstat_TCP_inuse"),
        "tcp_time_wait": _gauge("node_sockstat_TCP_tw"),
        "latency": _gauge("service_latency_seconds"),
        "service_up": _gauge("service_up"),
    },
)
