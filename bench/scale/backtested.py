"""What a backtest costs: `python -m bench.scale.backtested --days 30 --hosts 100 --alerts 300`.

A Prometheus is filled with the series that decisions read, a sample a minute, and with alerts.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from bench.scenes.backfill import ratios
from bench.scenes.remote_write import Series, write
from bench.scenes.scene import DAY_S
from demo.fleet.node_exporter import past
from demo.fleet.workload import Host, Moments, Workload, levels, usual_requests
from demo.stack import tools
from demo.stack.processes import Child, Processes

_STEP_S, _MEMBERS = 60.0, 10
_READ_BY_PLAYBOOKS = ("instance:node_cpu_utilisation:irate", "instance:service_error:ratio")
_CLOCK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class _Alert:
    host: int
    since: float
    until: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("days", 30), ("hosts", 100), ("alerts", 300), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    chance, now = random.Random(options.seed), time.time() // 60 * 60
    at = np.arange(now - options.days * DAY_S, now, _STEP_S)
    alerts = [_draw(chance, options.hosts, at) for _ in range(options.alerts)]
    with tempfile.TemporaryDirectory() as name, Processes(Path(name) / "logs") as processes:
        child, url = _prometheus(processes, Path(name))
        samples = 0
        with httpx.Client(trust_env=False, timeout=300) as client:
            for number in range(options.hosts):
                own = [alert for alert in alerts if alert.host == number]
                series = list(_series(number, at, own, chance))
                samples += sum(len(one.at) for one in series)
                write(client, url, series)
        before = _cpu_s(child)
        figures = _backtest(url, options.days)
        figures |= {"samples": samples, "prometheus_cpu_s": _cpu_s(child) - before}
    print(json.dumps(vars(options) | figures, indent=2))  # noqa: T201 a program's output


def _draw(chance: random.Random, hosts: int, at: Moments) -> _Alert:
    # The first days are the past of the first alerts.
    start = chance.choice(at[len(at) // 15 : -60].tolist())
    return _Alert(
        host=chance.randrange(hosts), since=start, until=start + chance.choice((300, 900, 2_400))
    )


def _prometheus(processes: Processes, folder: Path) -> tuple[Child, str]:
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")

    def serve(port: int) -> Sequence[str | Path]:
        return (
            tools.find("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=180d",
            # The head takes samples that are up to half of its first block old.
            "--storage.tsdb.min-block-duration=120d",
            "--storage.tsdb.max-block-duration=120d",
            "--web.enable-remote-write-receiver",
            f"--web.listen-address=127.0.0.1:{port}",
        )

    return processes.start_on_port("prometheus", serve, ready="/-/ready")


def _series(
    number: int, at: Moments, alerts: Sequence[_Alert], chance: random.Random
) -> Iterator[Series]:
    """The series of a host and its alerts: it is busy from four minutes before each."""
    group = f"asg-{number // _MEMBERS}"
    host = Host(
        instance_id=f"i-{number + 1:017x}",
        group=group,
        az=f"us-east-1{'abc'[number % 3]}",
        address=f"10.0.{number // 250}.{number % 250 + 1}",
        phase=chance.uniform(0, 6.28),
        lean=chance.uniform(-1, 1),
    )
    runaway = np.zeros(at.shape)
    for alert in alerts:
        runaway[(at >= alert.since - 240) & (at < alert.until)] = 1.0
    noise = np.random.default_rng(number).normal(1, 0.05, at.shape).clip(0.3, 2)
    workload = Workload(
        requests=usual_requests(group, at) * noise, runaway=runaway, batch=np.zeros(())
    )
    level = levels(host, workload, at)
    labels = (
        f'job="node",instance="{host.address}:9100",instance_id="{host.instance_id}",'
        f'asg="{group}",az="{host.az}"'
    )
    own: dict[str, Moments] = dict(past(level, at, at[0] - DAY_S)[1])
    own |= {name: values for name, values in ratios(level).items() if name in _READ_BY_PLAYBOOKS}
    own["up"] = np.ones(at.shape)
    for name, values in own.items():
        head, _, more = name.partition("{")
        matchers = ",".join(filter(None, (more.removesuffix("}"), labels)))
        yield Series(f"{head}{{{matchers}}}", at, np.broadcast_to(values, at.shape))
    fires = np.zeros(at.shape, bool)
    for alert in alerts:
        fires |= (at >= alert.since) & (at < alert.until)
    told = f'ALERTS{{alertname="HighCPU",alertstate="firing",severity="warning",{labels}}}'
    # Prometheus marks the end of an alert; here its samples come every 15 s, then NaN.
    moments = np.arange(at[0], at[-1], 15.0)
    firing = np.interp(moments, at, fires.astype(float)) >= 1
    ended = np.append(False, firing[:-1]) & ~firing
    kept = firing | ended
    yield Series(told, moments[kept], np.where(firing[kept], 1.0, np.nan))


def _backtest(url: str, days: int) -> dict[str, float]:
    command = [sys.executable, "-m", "receiver", "backtest", "--since", f"{days}d", "--json"]
    env: Mapping[str, str] = os.environ | {"SMARTCLOUDOPS_PROMETHEUS_URL": url}
    options = ["--no-aws", "--max-queries-per-second", "1000"]
    began, rss_mb = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as out:
        with subprocess.Popen([*command, *options], env=env, stdout=out) as process:
            while process.poll() is None:
                rss_mb = max(rss_mb, _rss_mb(process.pid))
                time.sleep(1)
        out.seek(0)
        told = json.load(out)
    wall_s, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "played": told["alerts"],
        "decisions": len(told["decisions"]),
        "acts": told["acts"],
        "harm": told["harm"],
        "wall_s": wall_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "rss_mb": rss_mb,
        "queries": told["prometheus"]["queries"],
        "prometheus_s": told["prometheus"]["seconds"],
    }


def _rss_mb(pid: int) -> float:
    """The most memory of a process so far: the kernel's own maximum counts the fork's, too."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _cpu_s(child: Child) -> float:
    """The processor's seconds that a process has used, by /proc."""
    parts = Path(f"/proc/{child.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / _CLOCK_HZ


if __name__ == "__main__":
    main()
