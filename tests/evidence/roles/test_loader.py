"""Exporters as data: each shipped file reads a host's quantities, and a faulty one is refused."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actions.catalog.registry import CATALOG
from models.features.signals import ROLES
from receiver.evidence.range_queries import latest_query, past_queries, peers_query
from receiver.evidence.roles.believable import is_believable
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.loader import InvalidRolesError
from receiver.evidence.roles.loader import load as load_roles
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.evidence.roles.promql import LATEST, of_instance, query
from tests.evidence.roles.test_promql import OTHER, TARGET, check, host, of, series
from tests.evidence.test_target_series import evaluate, make_resolver

_SHIPPED = Path(__file__).parents[3] / "roles.d"
_EXPORTERS = {exporter.name: exporter for exporter in load_roles(_SHIPPED)}
_DISK = {"device": "nvme0n1"}
# What each exporter shows, 5 s apart, of a host of which a quarter of the CPU is busy.
_METRICS: Mapping[str, list[tuple[str, dict[str, str], str]]] = {
    "opentelemetry": [
        ("system_cpu_time_seconds_total", {"cpu": "cpu0", "state": "idle"}, "0+2.5"),
        ("system_cpu_time_seconds_total", {"cpu": "cpu1", "state": "idle"}, "0+5"),
        ("system_cpu_time_seconds_total", {"cpu": "cpu0", "state": "wait"}, "0+1"),
        ("system_cpu_time_seconds_total", {"cpu": "cpu0", "state": "steal"}, "0+0.5"),
        ("system_cpu_load_average_1m", {}, "1.5+0"),
        ("system_cpu_load_average_5m", {}, "1.25+0"),
        ("system_memory_usage_bytes", {"state": "used"}, "3000+0"),
        ("system_memory_usage_bytes", {"state": "cached"}, "900+0"),
        ("system_paging_operations_total", {"direction": "page_in", "type": "major"}, "0+5"),
        ("system_paging_operations_total", {"direction": "page_out", "type": "major"}, "0+10"),
        ("system_filesystem_usage_bytes", {"mountpoint": "/", "state": "used"}, "400+0"),
        ("system_filesystem_usage_bytes", {"mountpoint": "/", "state": "free"}, "600+0"),
        ("system_filesystem_usage_bytes", {"mountpoint": "/", "state": "reserved"}, "50+0"),
        ("system_filesystem_usage_bytes", {"type": "tmpfs", "state": "used"}, "9+0"),
        ("system_filesystem_usage_bytes", {"type": "tmpfs", "state": "free"}, "1+0"),
        ("system_disk_io_bytes_total", _DISK | {"direction": "read"}, "0+500"),
        ("system_disk_io_bytes_total", _DISK | {"direction": "write"}, "0+1000"),
        ("system_disk_io_time_seconds_total", _DISK, "0+1"),
        ("system_disk_operation_time_seconds_total", _DISK | {"direction": "read"}, "0+5"),
        ("system_disk_operation_time_seconds_total", _DISK | {"direction": "write"}, "0+15"),
        ("system_disk_operations_total", _DISK | {"direction": "read"}, "0+10"),
        ("system_disk_operations_total", _DISK | {"direction": "write"}, "0+30"),
        ("system_network_io_bytes_total", {"device": "eth0", "direction": "receive"}, "0+50"),
        ("system_network_io_bytes_total", {"device": "lo", "direction": "receive"}, "0+900"),
        ("system_network_io_bytes_total", {"device": "eth0", "direction": "transmit"}, "0+100"),
        ("system_network_connections", {"protocol": "tcp", "state": "ESTABLISHED"}, "42+0"),
        ("system_network_connections", {"protocol": "tcp", "state": "TIME_WAIT"}, "7+0"),
        ("system_network_connections", {"protocol": "udp", "state": ""}, "9+0"),
    ],
    "windows_exporter": [
        ("windows_cpu_time_total", {"core": "0,0", "mode": "idle"}, "0+2.5"),
        ("windows_cpu_time_total", {"core": "0,1", "mode": "idle"}, "0+5"),
        ("windows_memory_physical_total_bytes", {}, "4000+0"),
        ("windows_memory_available_bytes", {}, "1000+0"),
        ("windows_memory_swap_pages_read_total", {}, "0+5"),
        ("windows_memory_swap_pages_written_total", {}, "0+10"),
        ("windows_logical_disk_free_bytes", {"volume": "C:"}, "600+0"),
        ("windows_logical_disk_size_bytes", {"volume": "C:"}, "1000+0"),
        ("windows_logical_disk_free_bytes", {"volume": "HarddiskVolume1"}, "1+0"),
        ("windows_logical_disk_size_bytes", {"volume": "HarddiskVolume1"}, "100+0"),
        ("windows_logical_disk_read_bytes_total", {"volume": "C:"}, "0+500"),
        ("windows_logical_disk_write_bytes_total", {"volume": "C:"}, "0+1000"),
        ("windows_logical_disk_idle_seconds_total", {"volume": "C:"}, "0+4"),
        ("windows_net_bytes_received_total", {"nic": "Amazon Elastic Network Adapter"}, "0+50"),
        ("windows_net_bytes_sent_total", {"nic": "Amazon Elastic Network Adapter"}, "0+100"),
        ("windows_tcp_connections_established", {"af": "ipv4"}, "40+0"),
        ("windows_tcp_connections_established", {"af": "ipv6"}, "2+0"),
        ("windows_tcp_connections_passive_total", {"af": "ipv4"}, "0+15"),
        ("windows_tcp_connections_reset_total", {"af": "ipv4"}, "0+20"),
        ("windows_tcp_segments_retransmitted_total", {"af": "ipv4"}, "0+25"),
    ],
    "cloudwatch_agent": [
        ("cwagent_cpu_usage_idle_average", {"cpu": "cpu-total"}, "75+0"),
        ("cwagent_cpu_usage_iowait_average", {"cpu": "cpu-total"}, "10+0"),
        ("cwagent_cpu_usage_steal_average", {"cpu": "cpu-total"}, "5+0"),
        ("cwagent_mem_used_average", {}, "3000+0"),
        ("cwagent_disk_used_percent_average", {"path": "/", "fstype": "ext4"}, "40+0"),
        ("cwagent_disk_used_percent_average", {"path": "/run", "fstype": "tmpfs"}, "90+0"),
        ("cwagent_netstat_tcp_established_average", {}, "42+0"),
        ("cwagent_netstat_tcp_time_wait_average", {}, "7+0"),
    ],
}
_EXPECTED = {
    "cpu_busy": 0.25,
    "cpu_iowait": 0.2,
    "cpu_steal": 0.1,
    "load1": 1.5,
    "load5": 1.25,
    "memory_used_effective": 3000.0,
    "swap_in": 1.0,
    "swap_out": 2.0,
    "filesystem_used": 0.4,
    "disk_read_bytes": 100.0,
    "disk_write_bytes": 200.0,
    "disk_util": 0.2,
    "disk_await": 0.5,
    "net_rx_bytes": 10.0,
    "net_tx_bytes": 20.0,
    "tcp_established": 42.0,
    "tcp_time_wait": 7.0,
    "tcp_passive_opens": 3.0,
    "tcp_out_rsts": 4.0,
    "tcp_retrans": 5.0,
}
_OWN = {"cloudwatch_agent": {"cpu_iowait": 0.1, "cpu_steal": 0.05}}


@pytest.mark.parametrize("name", _METRICS)
def test_each_exporter_reads_a_hosts_quantities(tmp_path: Path, name: str) -> None:
    """All that its file has, in the roles' units, and of no other host."""
    recorded = [
        series(metric, host(instance) | more, f"{values}x125")
        for instance in (TARGET, OTHER)
        for metric, more, values in _METRICS[name]
    ]
    exporter = _EXPORTERS[name]
    expected = {role: (_EXPECTED | _OWN.get(name, {}))[role] for role in exporter.exprs}
    expr = query(of_instance(TARGET), LATEST, exporter=exporter)
    check(tmp_path, recorded, expr, "10m", of(TARGET, expected))


@pytest.mark.parametrize(
    ("name", "metric", "samples"),
    [
        ("node_exporter", "node_boot_time_seconds", "0x12 190x12"),
        ("windows_exporter", "windows_system_boot_time_timestamp", "0x12 190x12"),
        ("windows_exporter", "windows_system_system_up_time", "0x12 190x12"),
        ("opentelemetry", "system_uptime_seconds", "0+15x12 5+15x12"),
    ],
)
def test_each_exporter_proves_a_reboot(
    tmp_path: Path, name: str, metric: str, samples: str
) -> None:
    """A host that was told to reboot at 150 s, and booted at 190 s."""
    exporter = {**_EXPORTERS, NODE_EXPORTER.name: NODE_EXPORTER}[name]
    series = {f'{metric}{{instance_id="{TARGET}"}}': samples}
    proof = CATALOG["reboot_instance"].recovery_expr(
        exporter.boot_time_of(of_instance(TARGET)), 150.0
    )
    proven = {at: evaluate(tmp_path, series, f"({proof}) == 1", at=at) for at in ("3m", "5m")}
    assert {at: bool(answer) for at, answer in proven.items()} == {"3m": False, "5m": True}


def test_every_shipped_exporter_is_tried() -> None:
    assert {*_METRICS, NODE_EXPORTER.name} == {*_EXPORTERS}


@pytest.mark.parametrize(
    "label", [{"instance": "10.0.0.2:9104"}, {"instance_id": "i-00000000000000001"}]
)
def test_the_exporter_of_a_target_is_found(tmp_path: Path, label: Mapping[str, str]) -> None:
    """By the labels that its series have, and also where the alert has the id itself."""
    with ThreadPoolExecutor(2) as pool:
        labels = {"alertname": "A", **label}
        text = ",".join(f'{key}="{value}"' for key, value in labels.items() if key != "alertname")
        idle = f'system_cpu_time_seconds_total{{state="idle",cpu="cpu0",{text}}}'
        resolver = make_resolver(pool, tmp_path, {idle: "0+6x40"})
        resolver.rules.exporters = tuple(_EXPORTERS.values())
        target = resolver.resolve(labels, ask=True)
    assert target.exporter is _EXPORTERS["opentelemetry"]
    assert not target.is_usual
    latest = latest_query(target, 300.0).expr
    found = evaluate(tmp_path, {idle: "0+6x40"}, latest)
    assert [labels["role"] for labels in found] == ["cpu_busy"]
    queries = [*past_queries(target, 300.0, ()).values(), peers_query(target, 300.0, ())]
    assert all("node_" not in query.expr for query in queries)


_CPU = 'cpu_busy: "1 - sum(x{$of})"'


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("name: a\npresence: x{$of}\n", ":1: roles: Field required"),
        (f"name: a\npresence: up\nroles: {{{_CPU}}}\n", ":2: presence: up lacks $of"),
        (f"name: a\npresence: x{{$me}}\nroles: {{{_CPU}}}\n", ":2: presence: the placeholders"),
        (f"name: a\npresence: x{{$of}}\nroles: {{{_CPU}, rpm: 'x{{$of}}'}}\n", "unknown: rpm"),
        ("name: a\npresence: x{$of}\nroles: {load1: 'x{$of}'}\n", "cpu_busy is needed"),
        ("name: a\npresence: x{$of}\nroles: {cpu_busy: 'sum(x{$of}'}\n", ":3: cpu_busy: "),
        ("name: a\npresence: x{$of}\nroles: {cpu_busy: 'x{$of} - y'}\n", "y lacks $of"),
        (f"name: node_exporter\npresence: x{{$of}}\nroles: {{{_CPU}}}\n", "is used already"),
        ("[", ":1: "),
    ],
)
def test_a_faulty_file_is_refused_with_its_line(tmp_path: Path, text: str, finding: str) -> None:
    """Also where a selector would read the metrics of every host as one host's."""
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InvalidRolesError) as caught:
        load_roles(tmp_path)
    assert finding in str(caught.value)
    assert "a.yaml:" in str(caught.value)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRolesError, match="no role file"):
        load_roles(tmp_path)


def test_percent_is_no_ratio_and_no_bytes() -> None:
    """An exporter's values in another unit are left out of the evidence."""
    for name in ("cpu_busy", "memory_used_effective", "filesystem_used"):
        assert not is_believable(ROLES[name], 47.0)
    assert is_believable(ROLES["cpu_busy"], 0.47)


def test_an_exporter_without_any_of_the_roles_is_said() -> None:
    exporter = Exporter(name="small", presence="x{$of}", exprs={"load1": "x{$of}"})
    with pytest.raises(ValueError, match="small has none"):
        query(of_instance(TARGET), LATEST, [ROLES["cpu_busy"]], exporter=exporter)
