"""node_exporter's metrics of a host on which everything is wrong, as OpenMetrics text."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_Value = Callable[[float], float]
_HOUR_S = 3600.0
# Rules look back for a day; all of it but the last hours is sampled each minute.
_PAST_S, _RECENT_S, _PAST_STEP_S = 25 * _HOUR_S, 2 * _HOUR_S, 60.0
_FAULT_S = _HOUR_S
_FILLING_S = 6 * _HOUR_S
_BYTES, _FILES = 1e11, 1e6
_ROOT = 'device="/dev/nvme0n1p1",fstype="ext4",mountpoint="/"'
_CHIP = 'chip="platform_coretemp_0",sensor="temp1"'

# Gauges that stay as they are.
_GAUGES: Mapping[str, float] = {
    'node_uname_info{nodename="web",release="6.1.0"}': 1,
    "node_memory_MemTotal_bytes{}": 8e9,
    "node_memory_MemAvailable_bytes{}": 2e8,
    "node_memory_SwapTotal_bytes{}": 1e9,
    "node_memory_SwapFree_bytes{}": 5e7,
    f"node_filesystem_size_bytes{{{_ROOT}}}": _BYTES,
    f"node_filesystem_files{{{_ROOT}}}": _FILES,
    f"node_filesystem_readonly{{{_ROOT}}}": 0,
    f"node_filesystem_device_error{{{_ROOT}}}": 1,
    "node_load1{}": 50,
    'node_systemd_unit_state{name="nginx.service",state="failed",type="forking"}': 1,
    f"node_hwmon_temp_celsius{{{_CHIP}}}": 95,
    f"node_hwmon_temp_max_celsius{{{_CHIP}}}": 80,
    f'node_hwmon_sensor_label{{{_CHIP},label="package"}}': 1,
    f"node_hwmon_temp_crit_alarm_celsius{{{_CHIP}}}": 1,
    'node_md_state{device="md0",state="inactive"}': 1,
    'node_md_disks{device="md0",state="failed"}': 1,
    'node_md_disks{device="md0",state="active"}': 1,
    'node_md_disks_required{device="md0"}': 2,
    'node_md_disks{device="sda1",state="failed"}': 1,
    'node_md_disks{device="sda1",state="active"}': 1,
    'node_md_disks_required{device="sda1"}': 2,
    'node_bonding_active{master="bond0"}': 1,
    'node_bonding_slaves{master="bond0"}': 2,
    "node_nf_conntrack_entries{}": 95,
    "node_nf_conntrack_entries_limit{}": 100,
    "node_filefd_allocated{}": 95,
    "node_filefd_maximum{}": 100,
    "node_timex_sync_status{}": 0,
    "node_timex_maxerror_seconds{}": 17,
    "node_textfile_scrape_error{}": 1,
    "node_reboot_required{}": 1,
    'node_network_speed_bytes{device="eth0"}': 1.25e8,
    "up{}": 1,
}
# Counters: what they grow by in a second before the fault, and after.
_CPU = {"idle": (0.9, 0.02), "user": (0.1, 0.5), "iowait": (0.0, 0.28), "steal": (0.0, 0.2)}
_COUNTERS: Mapping[str, tuple[float, float]] = {
    **{
        f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}}': rates
        for cpu in range(2)
        for mode, rates in _CPU.items()
    },
    "node_vmstat_pgmajfault{}": (1, 2000),
    "node_vmstat_oom_kill{}": (0, 0.1),
    "node_context_switches_total{}": (1e3, 1e5),
    'node_systemd_service_restart_total{name="nginx.service"}': (0, 0.1),
    'node_edac_correctable_errors_total{controller="0"}': (0, 1),
    'node_edac_uncorrectable_errors_total{controller="0"}': (0, 1),
    **{
        f'node_network_{way}_{what}_total{{device="eth0"}}': rates
        for way in ("receive", "transmit")
        for what, rates in {
            "bytes": (1e4, 1.5e8),
            "packets": (10, 1000),
            "errs": (0, 100),
            "drop": (0, 100),
        }.items()
    },
    **{
        f'node_disk_{name}_total{{device="nvme0n1"}}': rates
        for name, rates in {
            "read_bytes": (1e4, 8e7),
            "written_bytes": (1e4, 8e7),
            "read_time_seconds": (0.001, 0.9),
            "reads_completed": (1, 5),
            "write_time_seconds": (0.001, 0.9),
            "writes_completed": (1, 5),
            "io_time_seconds": (0.01, 0.95),
            "io_time_weighted_seconds": (0.01, 20),
        }.items()
    },
}


@dataclass(frozen=True, kw_only=True)
class BrokenHost:
    """A host that was well until an hour before `end`; `instance` is its label."""

    instance: str
    job: str = "node-exporter"

    def lines(self, end: float, scrape_s: float) -> Iterator[str]:
        """The samples, in the order of their series."""
        for name, value_of in self._series(end):
            labels = f'job="{self.job}",instance="{self.instance}"'
            head, _, own = name.rstrip("}").partition("{")
            series = f"{head}{{{','.join(filter(None, (own, labels)))}}}"
            for at in _times(end, scrape_s):
                yield f"{series} {value_of(at):.10g} {at:.0f}"

    @staticmethod
    def _series(end: float) -> Iterator[tuple[str, _Value]]:
        for name, value in _GAUGES.items():
            yield name, _constant(value)
        for name, (before, after) in _COUNTERS.items():
            yield name, _counter(before, after, start=end - _PAST_S, fault=end - _FAULT_S)
        yield f"node_filesystem_avail_bytes{{{_ROOT}}}", _filling(_BYTES, end)
        yield f"node_filesystem_files_free{{{_ROOT}}}", _filling(_FILES, end)
        yield "node_timex_offset_seconds{}", _drifting(end)


def _constant(value: float) -> _Value:
    return lambda _: value


def _counter(before: float, after: float, *, start: float, fault: float) -> _Value:
    return lambda at: before * (min(at, fault) - start) + after * max(0.0, at - fault)


def _filling(whole: float, end: float) -> _Value:
    """What is free of it: 14 % until six hours ago, 2 % at the end."""
    return lambda at: whole * (0.02 + 0.12 * min(1.0, (end - at) / _FILLING_S))


def _drifting(end: float) -> _Value:
    return lambda at: 0.2 + (at - end) / 1e6


def _times(end: float, scrape_s: float) -> Iterator[float]:
    at = end - _PAST_S
    while at <= end:
        yield at
        at += scrape_s if at >= end - _RECENT_S else _PAST_STEP_S
