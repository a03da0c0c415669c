"""The roles' PromQL, evaluated by Prometheus' own engine on made-up exporters."""

import json
import subprocess
from pathlib import Path

import pytest

from demo.stack import tools
from models.features.signals import ROLES
from receiver.evidence.roles.promql import (
    LATEST,
    MEANS,
    Sampling,
    of_instance,
    of_siblings,
    query,
    while_scraped,
)

TARGET = "i-0123456789abcdef0"
SIBLING = "i-0123456789abcdef1"
OTHER = "i-0123456789abcdef2"
CPUS = "node_cpu_seconds_total"


def host(instance_id: str, *, job: str = "node", asg: str = "web-asg") -> dict[str, str]:
    return {"instance_id": instance_id, "job": job, "instance": f"{job}:9100", "asg": asg}


def series(name: str, labels: dict[str, str], values: str) -> dict[str, str]:
    inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{inner}}}", "values": values}


def machine(labels: dict[str, str], *, times: str = "x125") -> list[dict[str, str]]:
    """Two CPUs, one of them idle half of its time; a disk, a loop device, a link and loopback.

    Samples are 5 s apart. `times` is promtool's repetition, and what follows it.
    """
    counters = [
        (CPUS, {"cpu": "0", "mode": "idle"}, "0+2.5"),
        (CPUS, {"cpu": "1", "mode": "idle"}, "0+5"),
        (CPUS, {"cpu": "0", "mode": "user"}, "0+2.5"),
        (CPUS, {"cpu": "0", "mode": "iowait"}, "0+1"),
        (CPUS, {"cpu": "1", "mode": "iowait"}, "0+0"),
        (CPUS, {"cpu": "0", "mode": "steal"}, "0+0.5"),
        (CPUS, {"cpu": "1", "mode": "steal"}, "0+0.5"),
        ("node_disk_read_time_seconds_total", {"device": "nvme0n1"}, "0+5"),
        ("node_disk_write_time_seconds_total", {"device": "nvme0n1"}, "0+15"),
        ("node_disk_write_time_seconds_total", {"device": "loop3"}, "0+9"),
        ("node_disk_reads_completed_total", {"device": "nvme0n1"}, "0+10"),
        ("node_disk_writes_completed_total", {"device": "nvme0n1"}, "0+30"),
        ("node_vmstat_pswpin", {}, "0+5"),
        ("node_vmstat_pswpout", {}, "0+10"),
        ("node_netstat_Tcp_PassiveOpens", {}, "0+15"),
        ("node_netstat_Tcp_OutRsts", {}, "0+20"),
        ("node_netstat_Tcp_RetransSegs", {}, "0+25"),
        ("node_sockstat_TCP_inuse", {}, "50+0"),
        ("node_sockstat_TCP_tw", {}, "7+0"),
        ("node_load5", {}, "1.25+0"),
        ("service_latency_seconds", {}, "0.125+0"),
        ("node_disk_read_bytes_total", {"device": "nvme0n1"}, "0+500"),
        ("node_disk_read_bytes_total", {"device": "loop3"}, "0+9000"),
        ("node_disk_written_bytes_total", {"device": "nvme0n1"}, "0+1000"),
        ("node_disk_io_time_seconds_total", {"device": "nvme0n1"}, "0+1"),
        ("node_network_receive_bytes_total", {"device": "eth0"}, "0+50"),
        ("node_network_receive_bytes_total", {"device": "lo"}, "0+9000"),
        ("node_network_transmit_bytes_total", {"device": "eth0"}, "0+100"),
        ("node_load1", {}, "1.5+0"),
        ("node_memory_MemTotal_bytes", {}, "4000+0"),
        ("node_memory_MemAvailable_bytes", {}, "1000+0"),
        ("node_netstat_Tcp_CurrEstab", {}, "42+0"),
        ("service_up", {}, "1+0"),
    ]
    root = {"mountpoint": "/", "device": "nvme0n1p1", "fstype": "ext4"}
    shm = {"mountpoint": "/dev/shm", "device": "tmpfs", "fstype": "tmpfs"}
    counters += [
        ("node_filesystem_size_bytes", root, "1000+0"),
        ("node_filesystem_avail_bytes", root, "600+0"),
        ("node_filesystem_size_bytes", shm, "1000+0"),
        ("node_filesystem_avail_bytes", shm, "0+0"),
    ]
    return [series(name, labels | more, base + times) for name, more, base in counters]


EXPECTED = {
    "cpu_busy": 0.25,
    "cpu_iowait": 0.1,
    "cpu_steal": 0.1,
    "load5": 1.25,
    "swap_in": 1.0,
    "swap_out": 2.0,
    "disk_await": 0.5,
    "tcp_passive_opens": 3.0,
    "tcp_out_rsts": 4.0,
    "tcp_retrans": 5.0,
    "tcp_in_use": 50.0,
    "tcp_time_wait": 7.0,
    "latency": 0.125,
    "load1": 1.5,
    "memory_used_effective": 3000.0,
    "filesystem_used": 0.4,
    "disk_read_bytes": 100.0,
    "disk_write_bytes": 200.0,
    "disk_util": 0.2,
    "net_rx_bytes": 10.0,
    "net_tx_bytes": 20.0,
    "tcp_established": 42.0,
    "service_up": 1.0,
}


def check(
    folder: Path, recorded: list[dict[str, str]], expr: str, at: str, expected: dict[str, float]
) -> None:
    """Lets promtool evaluate; `expected` maps "role instance_id" to a value, and is all of it."""
    samples = [
        {"labels": f'{{instance_id="{key.split()[1]}",role="{key.split()[0]}"}}', "value": value}
        for key, value in expected.items()
    ]
    # To a thousandth: Prometheus 3 sums in another order than 2 does.
    test = {"expr": f"round({expr}, 0.001)", "eval_time": at, "exp_samples": samples}
    group = {"interval": "5s", "input_series": recorded, "promql_expr_test": [test]}
    file = folder / "test.yml"
    file.write_text(json.dumps({"evaluation_interval": "5s", "tests": [group]}))
    process = subprocess.run(
        [tools.find("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr


def of(instance_id: str, roles: dict[str, float]) -> dict[str, float]:
    return {f"{role} {instance_id}": value for role, value in roles.items()}


@pytest.mark.parametrize("window", [MEANS, LATEST])
def test_every_role_reads_its_quantity(tmp_path: Path, window: Sampling) -> None:
    """Each role's value from raw counters and gauges, virtual devices and other hosts left out."""
    assert set(EXPECTED) == set(ROLES)
    recorded = machine(host(TARGET)) + machine(host(OTHER))
    check(tmp_path, recorded, query(of_instance(TARGET), window), "10m", of(TARGET, EXPECTED))


def test_two_scrape_jobs_do_not_double_a_host(tmp_path: Path) -> None:
    """One host scraped twice has the traffic of one."""
    recorded = machine(host(TARGET)) + machine(host(TARGET, job="node-too"))
    check(tmp_path, recorded, query(of_instance(TARGET), LATEST), "10m", of(TARGET, EXPECTED))


def test_siblings_are_the_groups_other_members(tmp_path: Path) -> None:
    """Neither the target nor another group nor a host without an id is a sibling."""
    recorded = machine(host(TARGET)) + machine(host(SIBLING))
    recorded += machine(host(OTHER, asg="api-asg")) + machine(host(""))
    expr = query(of_siblings("web-asg", TARGET), LATEST)
    check(tmp_path, recorded, expr, "10m", of(SIBLING, EXPECTED))


def test_counter_reset_does_not_show_as_a_rate(tmp_path: Path) -> None:
    """After a reboot counters start at zero: no negative traffic and no burst."""
    recorded = [
        series(
            "node_network_receive_bytes_total",
            host(TARGET) | {"device": "eth0"},
            "900000+50x30 0+50x30",
        )
    ]
    check(
        tmp_path,
        recorded,
        query(of_instance(TARGET), LATEST),
        "2m40s",
        of(TARGET, {"net_rx_bytes": 10.0}),
    )


def test_dead_host_has_no_present(tmp_path: Path) -> None:
    """As soon as a scrape fails nothing is known any more, though ranges still hold samples."""
    recorded = machine(host(TARGET), times="x20 stale")
    live = while_scraped(query(of_instance(TARGET), LATEST), of_instance(TARGET))
    check(tmp_path, recorded, live, "1m40s", of(TARGET, EXPECTED))
    check(tmp_path, recorded, live, "1m45s", {})
