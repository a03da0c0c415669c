"""Starts the real Prometheus and Alertmanager on loopback."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demo.stack.monitoring_config import (
    AS_SHIPPED,
    Connections,
    Timings,
    alertmanager_config,
    prometheus_config,
    rule_files,
    write,
)
from demo.stack.processes import Child, Processes, free_port, without_aws
from demo.stack.tools import Tools

# promtool reads its whole input for each block: one block of a week takes a quarter of the time.
_BLOCK = "168h"
_IMPORT_TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """A running Prometheus and its Alertmanagers: base URLs and processes."""

    prometheus_url: str
    prometheus: Child
    alertmanager_urls: tuple[str, ...]
    alertmanagers: tuple[Child, ...]


@dataclass(frozen=True, kw_only=True)
class MonitoringSpec:
    """Options: `state` is a new folder, `history` an OpenMetrics file that is imported first.

    More than one of the `alertmanagers` form a cluster.
    """

    state: Path
    connections: Connections
    timings: Timings = AS_SHIPPED
    history: Path | None = None
    alertmanagers: int = 1


def start_monitoring(processes: Processes, tools: Tools, spec: MonitoringSpec) -> Monitoring:
    """Start Prometheus and Alertmanager and wait until both are ready. Raises ProcessError."""
    # Prometheus resolves a relative path in its configuration against the file's folder.
    spec = replace(spec, state=spec.state.absolute())
    state = spec.state
    if spec.history is not None:
        _import(processes, tools, history=spec.history, data=_data(state))
    started = start_alertmanagers(processes, tools, spec)
    urls = tuple(url for _, url in started)
    for name, config in rule_files(spec.timings):
        write(state / "rules" / name, config)

    def command(port: int) -> Sequence[str | Path]:
        config = prometheus_config(
            spec.connections, spec.timings, rules=state / "rules", alertmanagers=urls, port=port
        )
        write(state / "prometheus.yml", config)
        return (
            tools.prometheus,
            f"--config.file={state / 'prometheus.yml'}",
            f"--storage.tsdb.path={_data(state)}",
            "--storage.tsdb.retention.time=15d",
            *_web(port),
            # The default of a minute delays an alert that Alertmanager missed.
            "--rules.alert.resend-delay=5s",
        )

    prometheus, url = processes.start_on_port(
        "prometheus", command, ready="/-/ready", env=without_aws()
    )
    return Monitoring(
        prometheus_url=url,
        prometheus=prometheus,
        alertmanager_urls=urls,
        alertmanagers=tuple(child for child, _ in started),
    )


def start_alertmanagers(
    processes: Processes, tools: Tools, spec: MonitoringSpec
) -> list[tuple[Child, str]]:
    """The processes and base URLs."""
    state, count = spec.state, spec.alertmanagers
    write(state / "alertmanager.yml", alertmanager_config(spec.connections, spec.timings))
    gossip = [f"127.0.0.1:{free_port()}" for _ in range(count)]
    started = []
    for number, own in enumerate(gossip):
        name = f"alertmanager-{number + 1}" if count > 1 else "alertmanager"

        def command(port: int, name: str = name, own: str = own) -> Sequence[str | Path]:
            return (
                tools.alertmanager,
                f"--config.file={state / 'alertmanager.yml'}",
                f"--storage.path={state / name}",
                *_web(port),
                # Empty: a single Alertmanager listens for no peers and needs no private address.
                f"--cluster.listen-address={own if count > 1 else ''}",
                *(f"--cluster.peer={peer}" for peer in gossip if count > 1 and peer != own),
                "--cluster.peer-timeout=5s",
            )

        started.append(processes.start_on_port(name, command, ready="/-/ready"))
    return started


def _web(port: int) -> tuple[str, str]:
    address = f"127.0.0.1:{port}"
    return f"--web.listen-address={address}", f"--web.external-url=http://{address}/"


def _data(state: Path) -> Path:
    return state / "prometheus"


def _import(processes: Processes, tools: Tools, *, history: Path, data: Path) -> None:
    """Convert OpenMetrics text into blocks of Prometheus' store.

    Live blocks begin after the newest imported block, so that the two never overlap.
    """
    command = (
        tools.promtool,
        *("tsdb", "create-blocks-from", "openmetrics", "--quiet"),
        f"--max-block-duration={_BLOCK}",
        history,
        data,
    )
    processes.run("history", command, timeout_s=_IMPORT_TIMEOUT_S)
