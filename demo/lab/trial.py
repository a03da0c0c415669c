"""Tries every fault and look-alike of a real machine once: `python -m demo.lab.trial`.

Prints for each after how many seconds the machine showed it, by its exporter, its agent, its
console or AWS; with names, tries these alone. The exit status is 1 where one did not show in time.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError
from demo.lab.readings import Reading, parse
from demo.machines.fleet import MachineFleet

_GROUP, _SIZE, _SEED = "web-asg", 2, 3
_SHOWN_S, _WELL_S, _POLL_S = 90.0, 150.0, 0.5
_BUSY = 0.9


@dataclass
class Seen:
    """A machine before the fault and now, by its exporter; the rest is as it is now.

    `pids` are all that its service has had, `others` are the instances before the fault.
    """

    before: Reading
    now: Reading
    truth: Mapping[str, Any]
    impaired: str
    console: str
    pids: set[str]
    others: Collection[str]

    def rise(self, metric: str) -> float:
        """Since before the fault; none while the exporter does not answer."""
        return _total(self.now, metric) - _total(self.before, metric) if self.now else 0.0

    def left(self, free: str, size: str) -> float:
        """The share that is free; all of it while the exporter does not answer."""
        return _total(self.now, free) / _total(self.now, size) if self.now else 1.0

    def is_busy(self) -> bool:
        return (self.truth["cpu"] or 0) > _BUSY

    def is_silent(self) -> bool:
        """Not where its agent has not asked the service yet."""
        return self.now.get("service_up") == 0

    def is_new(self) -> bool:
        return self.truth["instance_id"] not in self.others

    def runs(self, script: str) -> int:
        return sum(words.endswith(script) for words in self.truth["processes"].values())


# What shows that a fault is there: a metric that rises by so much, a share that falls to so little,
# or more.
RISES: Mapping[str, tuple[str, float]] = {
    "memory_exhausted": ("node_vmstat_oom_kill", 1),
    "read_only": ("node_filesystem_readonly", 1),
    "wrong_answers": ("service_errors_total", 3),
    "descriptor_leak": ("node_filefd_allocated", 500),
    "connection_leak": ("node_sockstat_TCP_inuse", 200),
    "packet_loss": ("node_netstat_Tcp_RetransSegs", 5),
    "batch_job": ("node_disk_written_bytes_total", 2e7),
    "cache_warm_up": ("service_requests_total", 150),
}
RUNS_OUT: Mapping[str, tuple[str, str, float]] = {
    "memory_leak": ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", 0.15),
    "disk_full": ("node_filesystem_avail_bytes", "node_filesystem_size_bytes", 0.05),
    "inodes_full": ("node_filesystem_files_free", "node_filesystem_files", 0.05),
}
_FORKED, _CRASHES = 150, 3
MORE: Mapping[str, Callable[[Seen], bool]] = {
    "cpu_runaway": Seen.is_busy,
    "service_hang": Seen.is_silent,
    "workers_exhausted": Seen.is_silent,
    "service_crash": lambda seen: len(seen.pids) > 1,
    "crash_loop": lambda seen: seen.console.count("service ended") > _CRASHES,
    "fork_storm": lambda seen: seen.runs("fork_storm") > _FORKED,
    "network_card_gone": lambda seen: not seen.now and seen.impaired == "instance",
    "kernel_panic": lambda seen: "Kernel panic" in seen.console,
    "hardware_failure": lambda seen: seen.impaired == "system",
    "compile_job": lambda seen: seen.runs("compile_job") > 0,
    "log_rotation": lambda seen: seen.rise("node_filesystem_files_free") < 0,
    "traffic_surge": Seen.is_busy,
    "deploy": Seen.is_new,
    "bad_deploy": lambda seen: seen.is_new() and seen.is_silent(),
}
NAMES = (*RISES, *RUNS_OUT, *MORE)
_OF_GROUP = frozenset({"traffic_surge", "bad_deploy", "deploy"})


def shows(name: str, seen: Seen) -> bool:
    """Whether the machine shows this fault."""
    if name in RISES:
        metric, least = RISES[name]
        return seen.rise(metric) >= least
    if name in RUNS_OUT:
        free, size, share = RUNS_OUT[name]
        return seen.left(free, size) <= share
    return MORE[name](seen)


def _total(reading: Reading, metric: str) -> float:
    return sum(value for name, value in reading.items() if name.partition("{")[0] == metric)


def try_out(fleet: MachineFleet, names: Sequence[str]) -> list[str]:
    """The faults that did not show."""
    fleet.begin(time.time())
    missing = []
    for name in names:
        _await_well(fleet)
        ids = [item["instance_id"] for item in fleet.truth()]
        before, pids = parse(fleet.metrics(ids[0]) or ""), _services(fleet.truth()[0])
        began = time.monotonic()
        fleet.inject(_GROUP if name in _OF_GROUP else ids[0], name)
        shown = False
        while not shown and time.monotonic() - began < _SHOWN_S:
            time.sleep(_POLL_S)
            shown = any(
                shows(name, _look(fleet, truth, before, pids, ids))
                for truth in fleet.truth()
                if name in _OF_GROUP or truth["instance_id"] == ids[0]
            )
        took = f"shown after {time.monotonic() - began:.0f} s" if shown else "NOT SHOWN"
        click.echo(f"{name:18} {took}")
        missing += [] if shown else [name]
        _mend(fleet, name)
    return missing


def _look(
    fleet: MachineFleet,
    truth: Mapping[str, Any],
    before: Reading,
    pids: set[str],
    others: Collection[str],
) -> Seen:
    instance = fleet.aws.world.instances[truth["instance_id"]]
    pids |= _services(truth)
    return Seen(
        before=before,
        now=parse(fleet.metrics(instance.id) or ""),
        truth=truth,
        impaired=instance.impaired,
        console=fleet.console(instance),
        pids=pids,
        others=others,
    )


def _services(truth: Mapping[str, Any]) -> set[str]:
    return {pid for pid, words in truth["processes"].items() if words.endswith("/service.py")}


def _mend(fleet: MachineFleet, name: str) -> None:
    """Let a deploy end, and put back what it launched."""
    if name == "bad_deploy":
        with fleet.aws.lock:
            group = fleet.aws.world.groups[_GROUP]
            # It may have ended by itself.
            with suppress(AwsError):
                fleet.aws.refreshes.cancel_instance_refresh({"AutoScalingGroupName": _GROUP})
            group.version = "1"
            for member in list(group.members.values()):
                if member.version != "1":
                    fleet.aws.groups.terminate(group, member, "a deploy that failed")
    else:
        fleet.repair(None)


def _await_well(fleet: MachineFleet) -> None:
    until = time.monotonic() + _WELL_S
    while [item["health"] for item in fleet.truth()] != ["healthy"] * _SIZE:
        if time.monotonic() > until:
            raise TimeoutError(f"the machines were not well within {_WELL_S:.0f} s")
        time.sleep(_POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(NAMES)}")
    names = parser.parse_args().names or list(NAMES)
    fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=_SEED, sizes={_GROUP: _SIZE})
    missing: list[str] = ["the trial did not end"]

    def run() -> None:
        try:
            missing[:] = try_out(fleet, names)
        finally:
            fleet.stop()

    threading.Thread(target=run, daemon=True).start()
    fleet.serve()
    sys.exit(f"not shown: {', '.join(missing)}" if missing else 0)


if __name__ == "__main__":
    main()
