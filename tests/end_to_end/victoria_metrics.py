"""VictoriaMetrics and vmalert in place of Prometheus: as a shop runs them, by their defaults."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from demo.stack.monitoring import Monitoring, MonitoringSpec, start_alertmanagers
from demo.stack.monitoring_config import prometheus_config, rule_files, write
from demo.stack.processes import Child, Processes, without_aws
from demo.stack.tools import Tools

_AT_ONCE = 200_000


def start(
    processes: Processes, tools: Tools, spec: MonitoringSpec, *, write_back: bool
) -> Monitoring:
    """With `write_back`, vmalert stores the state of alerts as `ALERTS`; it is no default."""
    spec = replace(spec, state=spec.state.absolute())
    alertmanagers = start_alertmanagers(processes, tools, spec)
    store, url = _start_store(processes, spec)
    if spec.history is not None:
        _import(url, spec.history)
    records, alerts = spec.state / "records", spec.state / "alerts"
    for name, config in rule_files(spec.timings):
        for folder, kind in ((records, "record"), (alerts, "alert")):
            write(folder / name, _only(config, kind))
    notify = [f"-notifier.url={address}" for _, address in alertmanagers]
    back = [f"-remoteWrite.url={url}"]
    _start_rules(processes, records, url, ["-notifier.blackhole", *back])
    _start_rules(processes, alerts, url, [*notify, *(back if write_back else [])])
    return Monitoring(
        prometheus_url=url,
        prometheus=store,
        alertmanager_urls=tuple(address for _, address in alertmanagers),
        alertmanagers=tuple(child for child, _ in alertmanagers),
    )


def _start_store(processes: Processes, spec: MonitoringSpec) -> tuple[Child, str]:
    def command(port: int) -> Sequence[str | Path]:
        config = prometheus_config(
            spec.connections, spec.timings, rules=spec.state, alertmanagers=[], port=port
        )
        for part in ("rule_files", "alerting"):
            config.pop(part)
        write(spec.state / "scrape.yml", config)
        return (
            _program("victoria-metrics"),
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-storageDataPath={spec.state / 'store'}",
            "-retentionPeriod=30d",
            # Prometheus' own words for how often a target is discovered and a rule evaluated.
            "-promscrape.config.strictParse=false",
            f"-promscrape.ec2SDCheckInterval={spec.timings.discovery}",
            f"-promscrape.config={spec.state / 'scrape.yml'}",
        )

    return processes.start_on_port("store", command, ready="/health", env=without_aws())


def _start_rules(processes: Processes, folder: Path, url: str, options: Sequence[str]) -> None:
    def command(port: int) -> Sequence[str | Path]:
        return (
            _program("vmalert"),
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-rule={folder}/*.yml",
            f"-datasource.url={url}",
            *options,
        )

    processes.start_on_port(f"vmalert-{folder.name}", command, ready="/health")


def _only(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """The rules of one kind."""
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if kind in rule]}
        for group in config["groups"]
    ]
    return {"groups": [group for group in groups if group["rules"]]}


def _import(url: str, history: Path) -> None:
    """OpenMetrics has seconds, VictoriaMetrics' import milliseconds."""
    with httpx.Client(trust_env=False, timeout=60) as http:
        for body in _chunks(history):
            http.post(f"{url}/api/v1/import/prometheus", content=body).raise_for_status()


def _chunks(history: Path) -> Iterator[str]:
    lines: list[str] = []
    with history.open() as file:
        for line in file:
            if not line.startswith("#"):
                sample, _, seconds = line.rpartition(" ")
                lines.append(f"{sample} {float(seconds) * 1000:.0f}\n")
            if len(lines) == _AT_ONCE:
                yield "".join(lines)
                lines.clear()
    yield "".join(lines)


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is not on PATH"
    return found


WRITES_BACK = partial(start, write_back=True)
STATELESS = partial(start, write_back=False)
