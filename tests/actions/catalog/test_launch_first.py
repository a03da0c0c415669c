"""A replacement that launches first: never fewer healthy members than before, wherever it ends.

`REPLACEMENTS` sets how many are cut off at random; `make stress` takes a thousand.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from actions.base import Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.step_key import StepKey, StepKind
from receiver.db.database import Database, database
from tests.actions.catalog.catalog_fixtures import GROUP, World
from tests.executors import executor

_ACTION = CATALOG["replace_instance"]
_TRIED = int(os.environ.get("REPLACEMENTS", "20"))
# Records and calls of one replacement; a cut beyond them is none.
_POINTS = 20
_CAPACITY = "We currently do not have sufficient c6i.large capacity in the zone."


class CutOffError(Exception):
    """The process ends here."""


@dataclass
class Replacement:
    """One replacement in virtual time, cut off at its `cut`th record or call; 0 is never."""

    state: Database
    cut: int = 0
    world: World = field(default_factory=World)
    points: int = 0

    def __post_init__(self) -> None:
        self.target = self.world.in_service()[0]
        self.fewest = self.healthy()
        self.world.emulator.trouble = lambda operation, _: self._point(operation)
        self.acting = executor(self.world.aws, self._begin, self.world.clock)
        self.step = Step(
            run_id="A" * 26,
            key=StepKey(StepKind.LADDER, 0),
            action=_ACTION,
            target=self.target,
            params={"mode": "launch_first"},
            playbook="test",
            group=GROUP,
            cooldown_s=0,
            bounds=Bounds(percent=100, min_healthy=0),
        )

    def begin(self) -> None:
        self._alive(lambda: self.acting.execute(self.step))

    def go_on(self, seconds: int) -> None:
        """As a run verifies its step, every five seconds, from what is on disk."""
        for second in range(seconds):
            self.world.clock.now += 1
            self.fewest = min(self.fewest, self.healthy())
            if second % 5 == 0:
                self._alive(self._look)

    @property
    def intent(self) -> Intent:
        with self.state.read() as connection:
            intent = ledger.read_intent(connection, self.step.run_id, self.step.key)
        assert intent is not None
        return intent

    def progress(self) -> Progress:
        return _ACTION.progress(self.acting.call(self.intent))

    def healthy(self) -> int:
        """Members that serve, also by their target group."""
        group = self.world.group
        targets = self.world.emulator.world.target_groups[group.target_groups[0]].targets
        registered = {target.id for target in targets if target.draining_until is None}
        return len(registered.intersection(self.world.in_service()))

    def calls(self, operation: str) -> int:
        """How often it happened."""
        done = (call for call in self.world.emulator.calls if call.session == self.step.run_id)
        return [call.operation for call in done].count(operation)

    def late(self) -> None:
        """As a run does when its time is up."""
        self.acting.cancel(self.step, self.intent)

    def _look(self) -> None:
        intent = self.acting.settle_lost(self.step, self.intent)
        self.acting.advance(self.step, intent)

    def _alive(self, work: Callable[[], object]) -> None:
        try:
            work()
        except CutOffError:
            self.world.clock.now += 1
            if work != self._look:
                self._alive(work)

    @contextmanager
    def _begin(self, *, synced: bool = True) -> Iterator[Connection]:
        self._point("begin")
        with self.state.write(synced=synced) as connection:
            yield connection
        self._point("end")

    def _point(self, operation: str) -> None:
        if not operation.startswith(("Describe", "Get")):
            self.points += 1
            if self.points == self.cut:
                raise CutOffError


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Replacement]]:
    made: list[Database] = []

    def make(cut: int = 0) -> Replacement:
        state = database(f"sqlite:///{tmp_path}/{len(made)}.db")
        state.migrate("state")
        made.append(state)
        return Replacement(state, cut)

    yield make
    for state in made:
        state.engine.dispose()


def test_the_new_one_serves_before_the_old_one_goes(make: Callable[..., Replacement]) -> None:
    replacement = make()
    replacement.begin()
    replacement.go_on(8)
    assert (replacement.world.group.desired, replacement.healthy()) == (7, 6)
    replacement.go_on(60)
    assert replacement.progress() is Progress.DONE
    assert (replacement.world.group.desired, replacement.healthy()) == (6, 6)
    assert replacement.target not in replacement.world.group.members


def test_one_that_the_target_group_does_not_serve_is_not_enough(
    make: Callable[..., Replacement],
) -> None:
    """In service by its group alone: the old one stays, and the new one goes when time is up."""
    replacement = make()
    before = set(replacement.world.group.members)
    replacement.begin()
    replacement.go_on(8)
    (new,) = set(replacement.world.group.members) - before
    (arn,) = replacement.world.group.target_groups
    replacement.world.emulator.world.target_groups[arn].states[new] = "unhealthy"
    replacement.go_on(120)
    assert replacement.progress() is Progress.UNDERWAY
    assert replacement.target in replacement.world.in_service()
    replacement.late()
    replacement.go_on(60)
    assert replacement.progress() is Progress.NEVER_RAN
    assert set(replacement.world.group.members) == before
    assert replacement.world.group.desired == 6


def test_without_capacity_the_old_one_serves_on(make: Callable[..., Replacement]) -> None:
    replacement = make()
    replacement.world.clock.now += 5
    replacement.world.group.launch_error = _CAPACITY
    replacement.begin()
    replacement.go_on(30)
    assert replacement.progress() is Progress.NEVER_RAN
    assert (replacement.world.group.desired, replacement.fewest) == (6, 6)
    assert replacement.target in replacement.world.in_service()


@pytest.mark.parametrize("desired", [9, 5])
def test_what_a_policy_wants_meanwhile_stays(
    make: Callable[..., Replacement], desired: int
) -> None:
    """More is more, less ends the replacement: nobody's capacity is undone."""
    replacement = make()
    replacement.begin()
    replacement.go_on(4)
    replacement.world.aws.autoscaling.set_desired_capacity(
        AutoScalingGroupName=GROUP, DesiredCapacity=desired
    )
    replacement.go_on(120)
    replaced = desired > 6
    assert replacement.calls("TerminateInstanceInAutoScalingGroup") == int(replaced)
    assert replacement.world.group.desired == desired - replaced


def test_at_its_maximum_a_group_is_refused(make: Callable[..., Replacement]) -> None:
    replacement = make()
    replacement.world.group.maximum = 6
    replacement.begin()
    assert replacement.intent.outcome is Outcome.FAILED
    assert "its maximum is 6" in (replacement.intent.error or "")
    assert replacement.calls("SetDesiredCapacity") == 0


@pytest.mark.parametrize("seed", range(_TRIED))
def test_cut_off_anywhere_nobody_is_missed(make: Callable[..., Replacement], seed: int) -> None:
    """At every record and call in turn; one is terminated, once, and the capacity is as before."""
    chance = random.Random(seed)  # noqa: S311 reproducible
    replacement = make(cut=1 + seed % _POINTS)
    core = replacement.world.emulator.core
    core.timings = replace(
        core.timings, launch_s=chance.uniform(1, 90), terminate_s=chance.uniform(1, 60)
    )
    replacement.begin()
    replacement.go_on(300)
    group = replacement.world.group
    assert (replacement.fewest, group.desired, replacement.healthy()) == (6, 6, 6)
    assert replacement.calls("TerminateInstanceInAutoScalingGroup") <= 1
    assert (replacement.target in group.members) is (
        replacement.calls("TerminateInstanceInAutoScalingGroup") == 0
    )
