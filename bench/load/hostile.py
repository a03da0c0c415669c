"""`python -m bench.load.hostile`: strangers load the demo's service while a host hangs.

The chain is the demo's. The service must restart the host's service within thirty seconds of the
alert, with less than 400 MB, and answer each probe within a second.
"""

import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import httpx

from bench.load.strangers import Probe, Strangers
from demo.incidents import Incident
from demo.stack import tools
from demo.stack.environment import EnvironmentOptions, start_environment
from demo.stack.processes import Processes
from demo.watcher import Watcher
from receiver.http.server import raise_file_limit

_CONNECTIONS, _MEGABYTES = 1100, 60
_ACT_S, _MEMORY_MB, _PROBE_S = 30.0, 400.0, 1.0
# The fleet is scraped, and the strangers are connected.
_SCRAPED_S, _BESIEGED_S = 15.0, 5.0
_SEED = 7


@dataclass(frozen=True, kw_only=True)
class HostileReport:
    """`alert_to_act_s` counts from the alert's start in Prometheus to the call to AWS."""

    sent_mb: float
    connections: int
    action: str | None
    fault_to_act_s: float | None
    alert_to_act_s: float | None
    memory_peak_mb: float
    probes: int
    probes_failed: int
    probe_slowest_s: float

    @property
    def held(self) -> bool:
        acted = self.alert_to_act_s is not None and self.alert_to_act_s <= _ACT_S
        answered = self.probes_failed == 0 and self.probe_slowest_s < _PROBE_S
        return acted and answered and self.memory_peak_mb < _MEMORY_MB


def measure(folder: Path) -> HostileReport:
    """Break a host beside the strangers. Raises ProcessError, ToolsError."""
    with Processes(folder / "logs") as processes, httpx.Client(trust_env=False, timeout=30) as http:
        environment = start_environment(
            processes, tools.require(), EnvironmentOptions(folder=folder / "state", seed=_SEED)
        )
        time.sleep(_SCRAPED_S)
        watcher = Watcher(
            environment=environment,
            http=http,
            say=lambda component, text: click.echo(f"{component:<10} {text}", err=True),
            waiting=lambda _: None,
        )
        incident = Incident(
            fault="service_hang", group="web-asg", whole_group=False, action="restart_service"
        )
        url = environment.receiver
        with (
            Probe(url, environment.service.pid) as probe,
            Strangers(url, _CONNECTIONS, _MEGABYTES) as strangers,
        ):
            time.sleep(_BESIEGED_S)
            observed = watcher.play(incident, set())
        since = None if observed.alert_at is None else observed.alert_at - observed.fault_at
        return HostileReport(
            sent_mb=strangers.sent / 2**20,
            connections=strangers.opened,
            action=observed.action,
            fault_to_act_s=observed.acted_s,
            alert_to_act_s=None
            if since is None or observed.acted_s is None
            else observed.acted_s - since,
            memory_peak_mb=probe.peak_mb(),
            probes=probe.asked,
            probes_failed=probe.failed,
            probe_slowest_s=probe.slowest_s,
        )


def main() -> int:
    """Print the figures. Returns 0 if all are within their limits."""
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        report = measure(Path(scratch))
    click.echo("| figure | value |\n|---|---|")
    for name, value in (asdict(report) | {"held": report.held}).items():
        click.echo(f"| `{name}` | {f'{value:.3g}' if isinstance(value, float) else value} |")
    return int(not report.held)


if __name__ == "__main__":
    sys.exit(main())
