"""Carries out each remedy many times on healthy machines under load, and counts failed requests.

The service's own actions act on the emulated AWS, whose instances are three real machines behind
HAProxy, and the usual callers come. A request counts as failed by the act if it was sent between
the act's first call and two seconds after all machines serve again. Beside them stands no remedy at
all, for half a minute, and those that cost requests: the count sees them. Then the group heals by
itself: HAProxy's checks find a service that hangs, and Auto Scaling replaces its machine. Writes
build/remedies.json.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from actions.base import Progress
from actions.catalog.registry import CATALOG
from actions.execution import claims, ledger
from actions.execution.executor import Executor
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.messaging import NullMessenger
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Hardness, Timings
from demo.machines.fleet import MachineFleet
from receiver.db.database import Database, database

_GROUP, _SIZE, _SEED = "web-asg", 3, 5
_OUT = Path("build/remedies.json")
_STEP_S, _WELL_S, _COUNTED_S = 300.0, 120.0, 14.0
_POLL_S, _AFTER_S, _NONE_S = 0.5, 2.0, 30.0
_ELB_GRACE_S = 30.0
_Steps = Sequence[tuple[str, Mapping[str, Any]]]
_RESTART = ("restart_service", {"service": "app"})
# The remedies with their steps; the first two may cost nothing.
FREE: Mapping[str, _Steps] = {
    "replace_launch_first": [("replace_instance", {"mode": "launch_first"})],
    "restart_drained": [("deregister_target", {}), _RESTART, ("register_target", {})],
}
BESIDE: Mapping[str, _Steps] = {
    "none": [],
    "restart_undrained": [_RESTART],
    "reboot_undrained": [("reboot_instance", {})],
}


@dataclass(kw_only=True)
class Cost:
    """The requests during all acts of a remedy, and the seconds that each act took."""

    remedy: str
    times: int = 0
    requests_sent: int = 0
    requests_failed: int = 0
    seconds: list[float] = field(default_factory=list)


class NotDoneError(Exception):
    """A remedy did not come to its end; the text says which."""


@dataclass
class Bench:
    fleet: MachineFleet
    state: Database
    _runs: int = 0

    def __post_init__(self) -> None:
        self.executor = Executor(
            aws_at=lambda _: clients(self.fleet.aws),
            messenger=NullMessenger(),
            begin=self.state.write,
            ask=self.state.ask,
            clock=time.time,
            forbids=lambda _connection, _step: None,
            check=lambda: None,
            recent_scopes=lambda *_: None,
            recent_group=lambda *_: None,
        )

    def measure(self, remedy: str, steps: _Steps, times: int) -> Cost:
        """Raises NotDoneError."""
        cost = Cost(remedy=remedy)
        spans: list[tuple[float, float]] = []
        for number in range(times):
            self._await_whole()
            member = self.fleet.truth()[number % _SIZE]
            target, began = member["instance_id"], time.time()
            self._run(target, steps)
            if any(action == "reboot_instance" for action, _ in steps):
                self._await_boot(target, member["boot_id"])
            cost.seconds.append(round(time.time() - began, 1))
            self._await_whole()
            time.sleep(_AFTER_S)
            spans.append((int(began), time.time()))
        time.sleep(_COUNTED_S)
        for began, until in spans:
            counts = self.fleet.requests(began, until)[_GROUP]
            cost.times += 1
            cost.requests_sent += counts["sent"]
            cost.requests_failed += counts["failed"]
            click.echo(f"{remedy} {cost.times} of {times}: {dict(counts)}", err=True)
        return cost

    def heal_by_group(self) -> dict[str, Any]:
        """A service hangs; seconds until its machine is replaced and all serve.

        Raises NotDoneError.
        """
        self._await_whole()
        aws = self.fleet.aws
        before = {item["instance_id"]: item["boot_id"] for item in self.fleet.truth()}
        with aws.lock:
            aws.world.groups[_GROUP].checks = "ELB"
            aws.world.groups[_GROUP].grace_s = _ELB_GRACE_S
            aws.core.hardness = Hardness(heals=True)
            aws.groups.watch()
        target, began = next(iter(before)), time.time()
        self.fleet.inject(target, "service_hang")
        members = aws.world.groups[_GROUP].members
        self._await(lambda: target not in members, "the machine of the service that hangs stayed")
        gone_s = time.time() - began
        self._await_whole()
        kept = {item["instance_id"]: item["boot_id"] for item in self.fleet.truth()}
        return {
            "remedy": "elb_health_check",
            "gone_s": round(gone_s, 1),
            "whole_s": round(time.time() - began, 1),
            "others_untouched": all(
                kept.get(name) == boot for name, boot in before.items() if name != target
            ),
        }

    def _run(self, target: str, steps: _Steps) -> None:
        self._runs += 1
        if not steps:
            time.sleep(_NONE_S)
        for number, (action, params) in enumerate(steps):
            step = Step(
                run_id=f"{self._runs:026d}",
                key=StepKey(StepKind.LADDER, number),
                action=CATALOG[action],
                target=target,
                params=params,
                playbook="bench",
                group=_GROUP,
                cooldown_s=0,
                bounds=Bounds(percent=100, min_healthy=0),
                # It belongs to the bench, which has no limits.
                counts=False,
            )
            done = self.executor.execute(step)
            if isinstance(done, Refusal):
                raise NotDoneError(f"{action} on {target} was refused: {done}")
            self._await_done(step)
        with self.state.write() as connection:
            claims.release(connection, f"{self._runs:026d}")

    def _await_done(self, step: Step) -> None:
        until = time.monotonic() + _STEP_S
        while time.monotonic() < until:
            with self.state.read() as connection:
                intent = ledger.read_intent(connection, step.run_id, step.key)
            if intent is None:
                raise NotDoneError(f"{step.action.name} on {step.target} has no record")
            intent = self.executor.advance(step, self.executor.settle_lost(step, intent))
            progress = step.action.progress(self.executor.call(intent))
            if progress is Progress.DONE:
                return
            if progress is not Progress.UNDERWAY:
                raise NotDoneError(f"{step.action.name} on {step.target}: {progress}")
            time.sleep(_POLL_S)
        raise NotDoneError(f"{step.action.name} on {step.target} took over {_STEP_S:.0f} s")

    def _await_boot(self, target: str, before: str) -> None:
        """A reboot is asked for at once; the machine serves on until it goes down."""

        def boot() -> object:
            return next(m["boot_id"] for m in self.fleet.truth() if m["instance_id"] == target)

        self._await(lambda: boot() not in {None, before}, f"{target} was not booted again")

    def _await_whole(self) -> None:
        def is_whole() -> bool:
            well = [item for item in self.fleet.truth() if item["health"] == "healthy"]
            with self.fleet.aws.lock:
                group = self.fleet.aws.world.groups[_GROUP]
                whole = group.capacity("InService") == _SIZE == len(group.members)
            return whole and len(well) == _SIZE

        self._await(is_whole, "the group was not whole")

    @staticmethod
    def _await(there: Callable[[], bool], failed: str) -> None:
        until = time.monotonic() + _WELL_S
        while not there():
            if time.monotonic() > until:
                raise NotDoneError(f"{failed} within {_WELL_S:.0f} s")
            time.sleep(_POLL_S)


def measure_all(fleet: MachineFleet, folder: Path, times: int) -> list[dict[str, Any]]:
    """Each remedy with its cost. Raises NotDoneError."""
    state = database(f"sqlite:///{folder}/remedies.db")
    state.migrate("state")
    fleet.begin(time.time())
    bench = Bench(fleet, state)
    costs = [bench.measure(name, steps, times) for name, steps in FREE.items()]
    costs += [bench.measure(name, steps, max(1, times // 4)) for name, steps in BESIDE.items()]
    return [*map(asdict, costs), bench.heal_by_group()]


def main() -> int:
    """0 where the remedies that may cost nothing failed no request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="of each remedy")
    options = parser.parse_args()
    timings = Timings()
    core = Core(time.time, timings, seed=_SEED)
    fleet = MachineFleet(aws=Emulator(core), seed=_SEED, sizes={_GROUP: _SIZE})
    rows: list[dict[str, Any]] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="remedies-") as scratch:
                rows.extend(measure_all(fleet, Path(scratch), options.times))
        except Exception as error:
            failures.append(error)
            raise
        finally:
            fleet.stop()

    threading.Thread(target=run, daemon=True).start()
    fleet.serve()
    if failures:
        return 1
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        click.echo(json.dumps(row))
    return int(any(row["requests_failed"] for row in rows if row["remedy"] in FREE))


if __name__ == "__main__":
    sys.exit(main())
