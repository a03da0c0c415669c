"""Ten thousand alerts in one delivery, and two thousand deliveries at once, into one receiver."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.load.delivery_client import NUMBERS, LoadSpec, run_load
from bench.load.service import Served, serve
from demo.stack.processes import Processes
from receiver.http.access.callers import Role

_ALERTS, _DELIVERIES, _CONNECTIONS = 10_000, 2_000, 32
_PATIENCE_S = 300.0


@dataclass
class _Watch:
    """Watches the process: its largest memory, and the latencies of `/healthz` in seconds."""

    service: Served
    peak_mb: float = 0.0
    health_s: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._over.wait(0.2):
            self.peak_mb = max(self.peak_mb, self.service.resident_mb())
            started = time.perf_counter()
            self.service.get("/healthz")
            self.health_s.append(time.perf_counter() - started)


def measure_storm(folder: Path, *, playbooks: Path) -> Mapping[str, float]:
    """Counts of acknowledged and lost alerts, and decisions per second.

    No alert matches one of the `playbooks`, so each decision costs as little as possible.
    """
    with Processes(folder / "logs") as processes:
        service = serve(processes, folder, "storm", PLAYBOOKS=str(playbooks))
        idle_mb = service.resident_mb()
        with _Watch(service) as watch:
            started = time.perf_counter()
            large = next(NUMBERS.bodies(_ALERTS))
            token = service.tokens[Role.WEBHOOK]
            posted = run_load(service.url, token, LoadSpec(connections=1, bodies=[large]))
            many = [next(NUMBERS.bodies(1)) for _ in range(_DELIVERIES)]
            taken = run_load(service.url, token, LoadSpec(connections=_CONNECTIONS, bodies=many))
            acked = _ALERTS * (1 - posted.failed) + _DELIVERIES - taken.failed
            decided_s = _wait_decided(service, acked) - started
        return {
            "storm_acked": acked,
            "storm_lost": acked - _ended(service),
            "storm_decisions_per_s": acked / decided_s,
            "rss_idle_mb": idle_mb,
            "rss_peak_mb": watch.peak_mb,
            "ready_s": service.ready_s,
            "storm_health_p99_s": sorted(watch.health_s)[int(0.99 * len(watch.health_s))],
        }


def _ended(service: Served) -> int:
    return int(service.metric("smartcloudops_runs_total"))


def _wait_decided(service: Served, acked: int) -> float:
    """Wait until all alerts are decided, or the time is up. Returns the time of the end."""
    until = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < until and _ended(service) < acked:
        time.sleep(0.25)
    return time.perf_counter()
