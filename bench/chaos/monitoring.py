"""Prometheus, Alertmanager and the load balancer of `make chaos`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from demo.stack import haproxy, tools
from demo.stack.environment import CREDENTIALS_FILE
from demo.stack.monitoring import Monitoring, MonitoringSpec, start_monitoring
from demo.stack.monitoring_config import Connections, Timings
from demo.stack.processes import Processes, wait_ready

_TIMINGS = Timings(scrape="1s", evaluation="1s", hold="10s", discovery="1s")


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """Alertmanager's own counts of its deliveries: all, retried, and abandoned ones."""

    total: int = 0
    tried_again: int = 0
    given_up: int = 0

    def __sub__(self, before: "Deliveries") -> "Deliveries":
        return Deliveries(
            total=self.total - before.total,
            tried_again=self.tried_again - before.tried_again,
            given_up=self.given_up - before.given_up,
        )

    def share_without(self, count: int) -> float | None:
        """The share of the deliveries without `count` of them; None if there were none."""
        return 1 - count / self.total if self.total else None


@dataclass
class ChaosMonitoring:
    """The parts around the receivers; `start` starts them, and Prometheus can be restarted."""

    processes: Processes
    folder: Path
    _running: Monitoring | None = field(default=None, init=False)

    def start(self, aws: str, receivers: Sequence[str]) -> str:
        """Start all parts. Returns the URL of Prometheus."""
        proxy = haproxy.start(self.processes, folder=self.folder / "proxy", receivers=receivers)
        self._running = start_monitoring(
            self.processes,
            tools.require(),
            MonitoringSpec(
                state=self.folder / "chain",
                connections=Connections(
                    aws=aws,
                    receiver=receivers[0],
                    replicas=receivers[1:],
                    proxy=proxy,
                    token_file=self.folder / CREDENTIALS_FILE,
                ),
                timings=_TIMINGS,
            ),
        )
        return self._running.prometheus_url

    @property
    def running(self) -> Monitoring:
        if self._running is None:
            raise RuntimeError("Prometheus cannot be restarted before `start`")
        return self._running

    def send(self, http: httpx.Client, alerts: Sequence[Mapping[str, Any]]) -> None:
        url = f"{self.running.alertmanager_urls[0]}/api/v2/alerts"
        http.post(url, json=alerts).raise_for_status()

    def restart_prometheus(self) -> None:
        """Kill Prometheus and start it again, without waiting until it is ready."""
        prometheus = self.running.prometheus
        prometheus.kill()
        again = self.processes.start("prometheus", prometheus.command)
        self._running = replace(self.running, prometheus=again)

    def wait_ready(self) -> None:
        wait_ready(self.running.prometheus, f"{self.running.prometheus_url}/-/ready")

    def deliveries(self, http: httpx.Client) -> Deliveries:
        """Alertmanager's counts so far."""
        counts: Counter[str] = Counter()
        for line in http.get(f"{self.running.alertmanager_urls[0]}/metrics").text.splitlines():
            for name in ("total", "failed_total"):
                if line.startswith(f'alertmanager_notifications_{name}{{integration="webhook"'):
                    counts[name] += int(float(line.rpartition(" ")[2]))
        # Alertmanager logs a success only if an earlier try failed.
        log = self.running.alertmanagers[0].log
        tried_again = sum(
            "integration=webhook" in line and "Notify success" in line
            for line in log.read_text().splitlines()
        )
        return Deliveries(
            total=counts["total"], tried_again=tried_again, given_up=counts["failed_total"]
        )
