"""A replacement that launches first: never fewer healthy members than before."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actions.aws.errors import AWS_ERRORS
from actions.base import Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.step_key import StepKey, StepKind
from demo.aws.world import AwsError
from receiver.db.database import Database, database
from tests.actions.catalog.catalog_fixtures import GROUP, World
from tests.executors import executor

_ACTION = CATALOG["replace_instance"]
_CAPACITY = "We currently do not have sufficient c6i.large capacity in the zone."


@dataclass
class Replacement:
    """One replacement in virtual time."""

    state: Database
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.target = self.world.in_service()[0]
        self.fewest = self.healthy()
        self.acting = executor(self.world.aws, self.state.write, self.world.clock)
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
        self.acting.execute(self.step)

    def go_on(self, seconds: int) -> None:
        """As a run verifies its step, every five seconds, from what is on disk."""
        for second in range(seconds):
            self.world.clock.now += 1
            self.fewest = min(self.fewest, self.healthy())
            if second % 5 == 0:
                with suppress(*AWS_ERRORS):
                    self._look()

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


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Replacement]]:
    made: list[Database] = []

    def make() -> Replacement:
        state = database(f"sqlite:///{tmp_path}/{len(made)}.db")
        state.migrate("state")
        made.append(state)
        return Replacement(state)

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


def test_capacity_that_aws_does_not_take_back_is_given_back_later(
    make: Callable[..., Replacement],
) -> None:
    """The group is busy with its next try to launch, and refuses once."""
    replacement = make()
    replacement.world.clock.now += 5
    replacement.world.group.launch_error = _CAPACITY
    replacement.begin()
    busy = [True]

    def trouble(operation: str, when: str) -> None:
        if operation == "SetDesiredCapacity" and when == "before" and busy:
            busy.pop()
            raise AwsError("ScalingActivityInProgress")

    replacement.world.emulator.trouble = trouble
    replacement.go_on(30)
    assert (replacement.progress(), replacement.world.group.desired) == (Progress.UNDERWAY, 7)
    replacement.go_on(round(_ACTION.shown_within_s))
    assert (replacement.progress(), replacement.world.group.desired) == (Progress.NEVER_RAN, 6)
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


@pytest.mark.parametrize("kind", ["classic", "lattice"])
def test_where_nobody_can_tell_who_serves_it_is_refused(
    make: Callable[..., Replacement], kind: str
) -> None:
    replacement = make()
    setattr(replacement.world.group, kind, ["legacy"])
    replacement.begin()
    assert replacement.intent.outcome is Outcome.FAILED
    assert "from legacy, whose health is not read" in (replacement.intent.error or "")
    assert replacement.calls("SetDesiredCapacity") == 0


def test_whom_the_group_replaces_itself_is_left_to_it(make: Callable[..., Replacement]) -> None:
    """Its own replacement and this one's would be one too many, for good."""
    replacement = make()
    replacement.world.group.members[replacement.target].health = "Unhealthy"
    replacement.begin()
    assert replacement.intent.outcome is Outcome.FAILED
    assert "Unhealthy, and replaces it by itself" in (replacement.intent.error or "")
    assert replacement.calls("SetDesiredCapacity") == 0


def test_one_that_somebody_protects_meanwhile_stays(make: Callable[..., Replacement]) -> None:
    """From scale-in, while the other one is launched."""
    replacement = make()
    replacement.begin()
    replacement.world.group.members[replacement.target].protected = True
    replacement.go_on(120)
    assert replacement.calls("TerminateInstanceInAutoScalingGroup") == 0
    assert replacement.target in replacement.world.in_service()


def test_at_its_maximum_a_group_is_refused(make: Callable[..., Replacement]) -> None:
    replacement = make()
    replacement.world.group.maximum = 6
    replacement.begin()
    assert replacement.intent.outcome is Outcome.FAILED
    assert "its maximum is 6" in (replacement.intent.error or "")
    assert replacement.calls("SetDesiredCapacity") == 0
