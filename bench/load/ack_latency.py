"""Compares durable acknowledgements with those of an endpoint that does nothing.

Each round loads both in turn; a figure is the median of the rounds' ratios. At one connection each
acknowledgement waits for the disk, so a round also counts what the disk alone allows.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.load.delivery_client import LoadResult, LoadSpec, run_load
from bench.load.service import Served, serve, serve_baseline
from demo.stack import postgres
from demo.stack.processes import Processes
from receiver.http.access.callers import Role

# Rounds of load shapes that have a goal, rounds of all others, and seconds of a round.
_ROUNDS, _FEWER, _SECONDS = 5, 3, 3.0
_PAGE_BYTES, _SYNCS_S = 4096, 1.0
_WANTED = ("sqlite_c1", "sqlite_c32", "sqlite_c200", "postgres_c1", "postgres_c32")
# Connections, and alerts in each delivery.
_SHAPES = ((1, 1), (32, 1), (200, 1), (1, 100), (32, 100), (200, 100))


def measure_acks(folder: Path, *, playbooks: Path) -> Mapping[str, float]:
    """Ratios to the baseline's requests per second, and to its p99 at 32 connections."""
    figures: dict[str, float] = {}
    with Processes(folder / "logs") as processes, postgres.running(processes) as database:
        bare = serve_baseline(processes, folder)
        for name, url in (("sqlite", ""), ("postgres", database.url)):
            own = folder / name
            own.mkdir()
            settings = {"PLAYBOOKS": str(playbooks)} | ({"DATABASE_URL": url} if url else {})
            service = serve(processes, own, name, **settings)
            for connections, alerts in _SHAPES:
                shape = f"{name}_c{connections}" + (f"_a{alerts}" if alerts > 1 else "")
                figures |= _compare(
                    bare,
                    service,
                    shape,
                    LoadSpec(connections=connections, alerts=alerts, seconds=_SECONDS),
                )
            service.child.stop()
    return figures


def _compare(bare: Served, service: Served, shape: str, spec: LoadSpec) -> Mapping[str, float]:
    def once(server: Served) -> LoadResult:
        return run_load(server.url, server.tokens.get(Role.WEBHOOK, "none"), spec)

    once(service)
    alone = spec.connections == spec.alerts == 1
    times = _ROUNDS if shape in _WANTED else _FEWER
    # The disk's rate is taken right before the load that it bounds.
    measured = [(once(bare), _syncs_per_s() if alone else 0.0, once(service)) for _ in range(times)]
    rounds = [(theirs, ours) for theirs, _, ours in measured]
    failed = sum(ours.failed for _, ours in rounds)
    if failed:
        raise RuntimeError(f"{failed} deliveries were not acknowledged")
    by_disk = {
        f"fsync_ratio_{shape}": _median(syncs / theirs.per_s for theirs, syncs, _ in measured),
        f"ack_per_fsync_{shape}": _median(
            ours.per_s / max(1.0, syncs) for _, syncs, ours in measured
        ),
    }
    return (by_disk if alone else {}) | {
        f"ack_ratio_{shape}": _median(ours.per_s / theirs.per_s for theirs, ours in rounds),
        f"ack_p99_ratio_{shape}": _median(
            ours.quantile(0.99) / theirs.quantile(0.99) for theirs, ours in rounds
        ),
        f"acks_per_s_{shape}": _median(ours.per_s for _, ours in rounds),
        f"ack_ms_p50_{shape}": _median(1e3 * ours.p50 for _, ours in rounds),
        f"ack_ms_p99_{shape}": _median(1e3 * ours.quantile(0.99) for _, ours in rounds),
    }


def _syncs_per_s() -> float:
    """Pages written and synced in a second, one after the other, where the databases are."""
    with tempfile.TemporaryFile() as file:
        began, count = time.perf_counter(), 0
        while (took := time.perf_counter() - began) < _SYNCS_S:
            os.pwrite(file.fileno(), bytes(_PAGE_BYTES), count % 256 * _PAGE_BYTES)
            os.fdatasync(file.fileno())
            count += 1
    return count / took


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)
