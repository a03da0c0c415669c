"""`make replacements`: an instance is replaced again and again, and each time cut off at one point.

Each replacement runs in virtual time on an emulated AWS of its own hardness: it lags, throttles,
refuses, lacks capacity and heals by itself. The process ends at a random record or call and begins
again later, as after a kill -9. Every second it is counted who serves by the group and by its
target group. Launching first there are never fewer than before, terminating first at most one
fewer; nobody else is terminated, nobody twice, and a capacity that was added is given back. Others
follow with a real receiver (`killed_receiver.py`).
"""

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy import Connection

from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Progress
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.messaging import NullMessenger
from actions.step_key import StepKey, StepKind
from bench.chaos.killed_receiver import replace_and_kill
from bench.chaos.replaced_fleet import GROUP, SIZE, Replaced, ReplacedFleet, ReplaceMode
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Timings, harsh
from receiver.db.database import Database, database

_ACTION = CATALOG["replace_instance"]
# More than the records and calls of one replacement: a cut beyond them is none.
_POINTS = 24
_LOOKS_EVERY_S, _TIME_S, _AFTERWARDS_S, _TRIES = 5, 600, 300, 20
_READS = ("Describe", "Get")


class CutOffError(BaseException):
    """The process ends here."""


@dataclass
class _Replacement:
    """One replacement, cut off at its `cut`th record or call."""

    state: Database
    mode: ReplaceMode
    chance: random.Random
    now: float = 1_800_000_000.0
    points: int = 0
    cut_off: bool = False

    def __post_init__(self) -> None:
        self.cut = self.chance.randint(1, _POINTS)
        timings = Timings(
            launch_s=self.chance.uniform(1, 90),
            terminate_s=self.chance.uniform(1, 60),
            boot_s=0.0,
        )
        core = Core(self._clock, timings, seed=self.chance.randrange(1_000_000))
        self.emulator = Emulator(core)
        self.fleet = ReplacedFleet(self.emulator, self.chance.uniform(0, 60))
        self.before = self.fleet.begin()
        self.target = self.chance.choice(self.before)
        core.hardness = harsh(self.chance.randrange(1_000_000))
        self.emulator.groups.watch()
        self.emulator.trouble = lambda operation, _: self._reach(operation)
        self.executor = Executor(
            aws_at=lambda _: clients(self.emulator),
            messenger=NullMessenger(),
            begin=self._begin,
            ask=self._begin,
            clock=self._clock,
            forbids=lambda _connection, _step: None,
            check=lambda: None,
            recent_scopes=lambda *_: None,
            recent_group=lambda *_: None,
        )
        self.step = Step(
            run_id=f"{self.chance.randrange(10**26):026d}",
            key=StepKey(StepKind.LADDER, 0),
            action=_ACTION,
            target=self.target,
            params={"mode": str(self.mode)},
            playbook="replacements",
            group=GROUP,
            cooldown_s=0,
            bounds=Bounds(percent=100, min_healthy=0),
        )

    def run(self) -> Replaced:
        """As a run does: the step is made, looked at, and given up once its time is over."""
        self._try(self._make)
        self._pass(_TIME_S)
        if self._is_under_way():
            self._try(self._give_up)
        self._pass(_AFTERWARDS_S)
        calls = self.emulator.calls
        return self.fleet.replaced(self.mode, self.target, self.before, calls, cut_off=self.cut_off)

    def _make(self) -> None:
        self.executor.execute(self.step)

    def _look(self) -> None:
        if (intent := self._intent()) is not None:
            self.executor.advance(self.step, self.executor.settle_lost(self.step, intent))

    def _give_up(self) -> None:
        if (intent := self._intent()) is not None:
            self.executor.cancel(self.step, intent)

    def _is_under_way(self) -> bool:
        intent = self._intent()
        return (
            intent is not None and _ACTION.progress(self.executor.call(intent)) is Progress.UNDERWAY
        )

    def _intent(self) -> Intent | None:
        with self.state.read() as connection:
            return ledger.read_intent(connection, self.step.run_id, self.step.key)

    def _pass(self, seconds: float) -> None:
        for second in range(round(seconds)):
            self._tick()
            if second % _LOOKS_EVERY_S == 0:
                self._try(self._look, tries=1)

    def _tick(self) -> None:
        self.now += 1
        self.fleet.count()

    def _wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self._tick()

    def _try(self, work: Callable[[], object], tries: int = _TRIES) -> None:
        """Again after an error of AWS; after the process ended, by the next one."""
        for _ in range(tries):
            try:
                work()
            except CutOffError:
                self._wait(self.chance.choice([1, 10, 40]))
            except (*AWS_ERRORS, NotActionableError):
                self._wait(_LOOKS_EVERY_S * (tries > 1))
            else:
                return

    @contextmanager
    def _begin(self, *, synced: bool = True) -> Iterator[Connection]:
        self._reach("begin")
        with self.state.write(synced=synced) as connection:
            yield connection
        self._reach("end")

    def _reach(self, operation: str) -> None:
        if not operation.startswith(_READS):
            self.points += 1
            if self.points == self.cut:
                self.cut_off = True
                raise CutOffError

    def _clock(self) -> float:
        return self.now


def replace_once(folder: Path, seed: int) -> Replaced:
    """One replacement by its seed; every second one launches first."""
    mode = ReplaceMode.LAUNCH_FIRST if seed % 2 else ReplaceMode.TERMINATE_FIRST
    state = database(f"sqlite:///{folder}/{seed}.db")
    state.migrate("state")
    try:
        return _Replacement(state, mode, random.Random(seed)).run()
    finally:
        state.engine.dispose()
        for file in folder.glob(f"{seed}.db*"):
            file.unlink()


def table(name: str, made: Sequence[Replaced]) -> str:
    """The figures of these replacements."""
    lines = [f"{name}: {len(made)}, cut off {sum(one.cut_off for one in made)}"]
    for mode in ReplaceMode:
        of_mode = [replaced for replaced in made if replaced.mode is mode]
        fewest = min((replaced.fewest for replaced in of_mode), default=SIZE)
        gone = sum(replaced.gone for replaced in of_mode)
        lines.append(
            f"  {mode}: {len(of_mode)}, replaced {gone}, fewest healthy {fewest} of {SIZE}"
        )
    faults = Counter(fault for replaced in made for fault in replaced.faults)
    return "\n".join([*lines, f"  faults: {dict(faults) or 'none'}"])


def main() -> int:
    """Make replacements in virtual time, and others in real time. Returns 0 without a fault."""
    times, kills, seed = (int(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="replacements-") as scratch:
        virtual = [replace_once(Path(scratch), seed + number) for number in range(times)]
        click.echo(table("in virtual time", virtual))
        real = replace_and_kill(Path(scratch), kills, seed)
        click.echo(table("by a receiver that was killed", real))
    return int(any(replaced.faults for replaced in [*virtual, *real]))


if __name__ == "__main__":
    sys.exit(main())
