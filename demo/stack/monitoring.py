"""The real Prometheus and Alertmanager on loopback, from the fault to the webhook."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.stack.monitoring_config import (
    AS_SHIPPED,
    Surroundings,
    Timings,
    alertmanager_config,
    prometheus_config,
    rule_files,
    write,
)
from demo.stack.processes import Child, Processes, free_port, without_aws
from demo.stack.tools import Tools

# promtool reads its whole input once for each block; a week in one block is a quarter of the time.
_BLOCK = "168h"
_IMPORT_TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The running chain: base URLs and processes."""

    prometheus_url: str
    prometheus: Child
    alertmanager_urls: tuple[str, ...]
    alertmanagers: tuple[Child, ...]


def start_chain(  # noqa: PLR0913 each is one fact about the chain, all by name
    processes: Processes,
    *,
    tools: Tools,
    state: Path,
    around: Surroundings,
    timings: Timings = AS_SHIPPED,
    history: Path | None = None,
    alertmanagers: int = 1,
) -> Chain:
    """Start the chain in a fresh folder and wait until it is ready. Raises ProcessError.

    `history` is a file in the OpenMetrics text format, imported before Prometheus starts. More
    than one Alertmanager form a cluster.
    """
    # Prometheus reads a relative path in its configuration from where the file is.
    state = state.absolute()
    if history is not None:
        _import(processes, tools, history=history, data=_data(state))
    started = _start_alertmanagers(processes, tools, state, around, timings, alertmanagers)
    urls = tuple(url for _, url in started)
    for name, config in rule_files(timings):
        write(state / "rules" / name, config)

    def command(port: int) -> Sequence[str | Path]:
        config = prometheus_config(
            around, timings, rules=state / "rules", alertmanagers=urls, port=port
        )
        write(state / "prometheus.yml", config)
        return (
            tools.prometheus,
            f"--config.file={state / 'prometheus.yml'}",
            f"--storage.tsdb.path={_data(state)}",
            "--storage.tsdb.retention.time=15d",
            *_web(port),
            # By default an alert that Alertmanager missed comes again after a minute.
            "--rules.alert.resend-delay=5s",
        )

    prometheus, url = processes.start_on_port(
        "prometheus", command, ready="/-/ready", env=without_aws()
    )
    return Chain(
        prometheus_url=url,
        prometheus=prometheus,
        alertmanager_urls=urls,
        alertmanagers=tuple(child for child, _ in started),
    )


def _start_alertmanagers(  # noqa: PLR0913, PLR0917 as start_chain
    processes: Processes,
    tools: Tools,
    state: Path,
    around: Surroundings,
    timings: Timings,
    count: int,
) -> list[tuple[Child, str]]:
    write(state / "alertmanager.yml", alertmanager_config(around, timings))
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
                # Empty: one alone looks for no peers, and for no private address to be found at.
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
    """Turn OpenMetrics text into blocks of Prometheus' store.

    They end with their last sample, and the live ones begin after the newest block, so that the
    two never overlap.
    """
    command = (
        tools.promtool,
        *("tsdb", "create-blocks-from", "openmetrics", "--quiet"),
        f"--max-block-duration={_BLOCK}",
        history,
        data,
    )
    processes.run("history", command, timeout_s=_IMPORT_TIMEOUT_S)
