"""What machines take of this host, by their number: `python -m demo.lab.capacity 4 8 16`.

Prints JSON for each number: seconds until all serve, memory (proportional set size) and processor
of all processes under the usual load, the slowest scrape where all are scraped every five seconds
as in the demo, and the share of requests that failed or took over a second.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import click

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.machines.fleet import MachineFleet

_GROUP, _SEED = "web-asg", 9
_SCRAPE_S, _ROUNDS, _COUNTED_S = 5.0, 8, 14.0
_PARENT, _USER, _SYSTEM = 1, 11, 12


def _own() -> Iterator[Path]:
    """The entries in /proc of this process and of all below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[entry.name] = _stat(entry)[_PARENT]
    found = [str(os.getpid())]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
        yield Path("/proc", pid)


def _stat(entry: Path) -> list[str]:
    """The fields after the name: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    return entry.joinpath("stat").read_text().rpartition(")")[2].split()


def _cpu_s() -> float:
    ticks = 0
    for entry in _own():
        with suppress(OSError):
            fields = _stat(entry)
            ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_mb() -> float:
    total = 0
    for entry in _own():
        with suppress(OSError):
            lines = entry.joinpath("smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure(fleet: MachineFleet, began: float) -> Mapping[str, float]:
    fleet.begin(time.time())
    booted_s = time.monotonic() - began
    names = [item["instance_id"] for item in fleet.truth()]
    since, used, scrapes = time.time(), _cpu_s(), list[float]()

    def scrape(name: str) -> float:
        at = time.monotonic()
        fleet.metrics(name)
        return time.monotonic() - at

    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        for _ in range(_ROUNDS):
            until = time.monotonic() + _SCRAPE_S
            scrapes += pool.map(scrape, names)
            time.sleep(max(0.0, until - time.monotonic()))
    now, cpu_s, memory = time.time(), _cpu_s() - used, _memory_mb()
    time.sleep(_COUNTED_S)
    counts = fleet.requests(since, now)[_GROUP]
    return {
        "machines": len(names),
        "serve_after_s": round(booted_s, 1),
        "memory_mb": round(memory),
        "cores": round(cpu_s / (now - since), 3),
        "slowest_scrape_s": round(max(scrapes), 2),
        "requests": counts["sent"],
        "failed": counts["failed"],
        "slow": counts["slow"],
    }


def main() -> None:
    for size in map(int, sys.argv[1:]):
        began = time.monotonic()
        fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=_SEED, sizes={_GROUP: size})

        def run(fleet: MachineFleet = fleet, began: float = began) -> None:
            try:
                click.echo(json.dumps(measure(fleet, began)))
            finally:
                fleet.stop()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        fleet.serve()


if __name__ == "__main__":
    main()
