"""Every action: that it happens at most once wherever it is cut off, and its undoing."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete
from ulid import ULID

from actions import tables
from actions.base import Action, Outcome, Progress, TargetKind
from actions.catalog.registry import CATALOG
from actions.execution import claims
from actions.execution.executor import Executor
from actions.execution.ledger import Intent, Stage
from actions.execution.preparation import Begin
from actions.execution.records import Bounds
from actions.execution.step import ReversedStep, Step
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from demo.aws.hardness import CALM, harsh
from receiver.db.database import Database
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, OUTSIDE, Case, World
from tests.conftest import Clock
from tests.executors import executor


class CutOffError(BaseException):
    """The process ends here."""


@dataclass
class Cutting:
    """Transactions of which one is the last: the process ends right before or after it."""

    begin: Begin
    last: int
    before: bool
    count: int = 0

    @contextmanager
    def __call__(self, *, synced: bool = True) -> Iterator[Connection]:
        self.count += 1
        if self.before and self.count == self.last:
            raise CutOffError
        with self.begin(synced=synced) as connection:
            yield connection
        if not self.before and self.count == self.last:
            raise CutOffError


# A step reads the ledger, claims, writes that it is about to call, calls, and writes what came of
# it.
_CUTS = {
    "claimed": (2, False),
    "prepared": (3, True),
    "dispatched": (3, False),
    "called": (4, True),
    "observed": (4, False),
}


def _cut_off(acting: Executor, state: Database, last: int, *, before: bool) -> Executor:
    """It ends at its transaction of that number; one that only reads counts, too."""
    cutting = Cutting(state.write, last, before)
    return replace(acting, begin=cutting, ask=cutting)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def _step(case: Case, world: World, target: str, run_id: str) -> Step:
    return Step(
        run_id=run_id,
        key=StepKey(StepKind.LADDER, 0),
        action=CATALOG[case.action],
        target=target,
        params=case.params(world),
        playbook="test",
        group="" if case.of_group else GROUP,
        cooldown_s=0,
        bounds=Bounds(percent=100, min_healthy=0),
    )


def _executor(world: World, state: Database, clock: Clock) -> Executor:
    return executor(world.aws, state.write, clock, world.messenger)


@contextmanager
def _prepared(case: Case, world: World) -> Iterator[str]:
    """A target for the case, in the state that it needs; afterwards all is as it was."""
    world.settle()
    target = GROUP if case.of_group else world.in_service()[0]
    case.before(world, target)
    try:
        yield target
    finally:
        case.after(world, target)


def _intent(result: Intent | Refusal) -> Intent:
    assert isinstance(result, Intent), result
    return result


def test_the_table_has_every_action() -> None:
    """Whatever is added must be tried here."""
    assert {case.action for case in CASES + OUTSIDE} | {"capture"} == CATALOG.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
@pytest.mark.parametrize("cut", _CUTS)
def test_cut_off_anywhere_it_happens_at_most_once_and_settles(
    case: Case, cut: str, world: World, state: Database, clock: Clock
) -> None:
    """The process ends between any two of its records; the next one goes on from the disk."""
    run_id, action = str(ULID()), CATALOG[case.action]
    with _prepared(case, world) as target:
        step = _step(case, world, target, run_id)
        acting = _executor(world, state, clock)
        last, before = _CUTS[cut]
        cutting = _cut_off(acting, state, last, before=before)
        with pytest.raises(CutOffError):
            cutting.execute(step)
        intent = _intent(acting.execute(step))
        assert intent.stage is Stage.SETTLED
        calls = world.calls(run_id).count(case.writes)
        if cut == "dispatched" and not action.idempotent:
            # Nobody knows whether it was sent, so it is not sent again.
            assert (calls, intent.outcome) in {(0, Outcome.UNKNOWN), (0, Outcome.FAILED)}
        elif cut == "called" and case.action == "page":
            # Told twice is better than not at all.
            assert (calls, intent.outcome) == (2, Outcome.CHANGED)
        else:
            assert calls == 1
            lost = cut == "called" and case.action == "reboot_instance"
            assert intent.outcome is (Outcome.UNKNOWN if lost else Outcome.CHANGED)
        assert acting.execute(step) == intent
        assert world.calls(run_id).count(case.writes) == calls


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
def test_cut_off_on_a_harsh_aws_it_happens_at_most_once_and_settles(
    case: Case, seed: int, state: Database
) -> None:
    """Describes lag, calls meet another activity, and the next process comes soon or later."""
    chance = random.Random(f"{case.action} {seed}")  # noqa: S311 no secret
    run_id, world = str(ULID()), World()
    with _prepared(case, world) as target:
        step = _step(case, world, target, run_id)
        # The group's own healing, and the throttling of reads, are not the call's doing.
        hardness = replace(harsh(chance.randrange(1_000)), heals=False, burst=0)
        world.emulator.core.hardness = hardness
        acting = _executor(world, state, world.clock)
        last, before = _CUTS[chance.choice(list(_CUTS))]
        cutting = _cut_off(acting, state, last, before=before)
        with pytest.raises(CutOffError):
            cutting.execute(step)
        world.clock.now += chance.choice([0, 5, 20])
        intent = _intent(acting.execute(step))
        happened = _happened(world, run_id, case.writes)
        assert intent.stage is Stage.SETTLED
        assert happened <= 1 + CATALOG[case.action].idempotent
        assert intent.outcome is not (Outcome.FAILED if happened else Outcome.CHANGED)
        assert acting.execute(step) == intent
        assert _happened(world, run_id, case.writes) == happened
        world.emulator.core.hardness = CALM


def _happened(world: World, run_id: str, operation: str) -> int:
    """How often AWS carried it out for the run."""
    done = (call for call in world.emulator.calls if call.session == run_id)
    return sum(call.operation == operation for call in done)


@pytest.mark.parametrize("case", OUTSIDE, ids=lambda case: case.action)
@pytest.mark.parametrize("cut", _CUTS)
def test_people_are_told_at_most_once(
    case: Case, cut: str, world: World, state: Database, clock: Clock
) -> None:
    """Of a notification whose answer was lost nobody knows; a silence is found by its comment."""
    world.messenger.notifications.clear()
    world.messenger.active.clear()
    acting = _executor(world, state, clock)
    step = _step(case, world, GROUP, str(ULID()))
    last, before = _CUTS[cut]
    with pytest.raises(CutOffError):
        _cut_off(acting, state, last, before=before).execute(step)
    intent = _intent(acting.execute(step))
    assert intent.stage is Stage.SETTLED
    assert len(world.messenger.notifications) <= 1
    assert len(world.messenger.active) <= 1


_UNDOABLE = [case for case in CASES if CATALOG[case.action].undone_by is not None]


@pytest.mark.parametrize("case", _UNDOABLE, ids=lambda case: case.action)
def test_what_is_undone_is_as_before(
    case: Case, world: World, state: Database, clock: Clock
) -> None:
    """The act shows, its undoing takes it back, once; and what somebody changed since is left."""
    run_id, action = str(ULID()), CATALOG[case.action]
    acting = _executor(world, state, clock)
    with _prepared(case, world) as target:
        step = _step(case, world, target, run_id)
        intent = _intent(acting.execute(step))
        assert intent.outcome is Outcome.CHANGED
        # Long after the act, nothing forbids its rollback.
        call = replace(acting.call(intent), unrefused_s=3_600.0)
        case.heals(world)
        # A member that is detached stays one until its connections are drained.
        world.eventually(lambda: action.unchanged_since(call))
        undo = action.undo(call)
        assert undo is not None
        assert undo.action == action.undone_by
        if case.action not in {"start_instance_refresh", "restore_version"}:
            world.eventually(lambda: action.progress(call) is Progress.DONE)
            # A member that is attached is pending first.
            world.clock.now += 10
        undoing = replace(
            step,
            key=step.key.reversal(),
            action=CATALOG[undo.action],
            params=CATALOG[undo.action].params.model_validate(undo.params).model_dump(),
            reverses=ReversedStep(action, intent),
        )
        assert _intent(acting.execute(undoing)).outcome is Outcome.CHANGED
        world.eventually(lambda: not action.unchanged_since(call))
        again = _intent(acting.execute(replace(undoing, key=StepKey(StepKind.ROLLBACK, 1))))
        assert again.outcome is Outcome.FAILED
        assert "a rollback would overwrite that change" in (again.error or "")


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if not case.of_group and case.action != "page"],
    ids=lambda case: case.action,
)
def test_an_instance_that_is_none_is_not_acted_on(
    case: Case, world: World, state: Database, clock: Clock
) -> None:
    """Neither an id of nobody, nor an empty one, which to AWS would be everybody."""
    acting = _executor(world, state, clock)
    for target in ("i-0000000000000dead", ""):
        step = replace(_step(case, world, target, str(ULID())), group="")
        intent = _intent(acting.execute(step))
        assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)
        with state.write() as connection:
            claims.release(connection, step.run_id)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.of_group and case.action != "shift_traffic"],
    ids=lambda case: case.action,
)
def test_a_group_that_is_none_is_not_acted_on(
    case: Case, world: World, state: Database, clock: Clock
) -> None:
    """A wrong name is nobody."""
    intent = _intent(
        _executor(world, state, clock).execute(_step(case, world, "no-asg", str(ULID())))
    )
    assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)


@pytest.mark.parametrize("cut", _CUTS)
def test_the_action_of_the_page_is_sound(
    cut: str, world: World, state: Database, clock: Clock
) -> None:
    """What a reader copies from docs/writing-actions.md is done once, wherever it is cut off."""
    page = (Path(__file__).parents[3] / "docs" / "writing-actions.md").read_text()
    source = page.partition("````python\n# actions/catalog/autoscaling/protect_instance.py\n")[2]
    names: dict[str, type[Action]] = {}
    exec(source.partition("\n````\n")[0], names)  # noqa: S102 our own document
    case = Case(action="reboot_instance", writes="SetInstanceProtection")  # for its target alone
    with _prepared(case, world) as target:
        step = replace(_step(case, world, target, str(ULID())), action=names["ProtectInstance"]())
        acting = _executor(world, state, clock)
        last, before = _CUTS[cut]
        cutting = _cut_off(acting, state, last, before=before)
        with pytest.raises(CutOffError):
            cutting.execute(step)
        intent = _intent(acting.execute(step))
        world.aws.autoscaling.set_instance_protection(
            InstanceIds=[target], AutoScalingGroupName=GROUP, ProtectedFromScaleIn=False
        )
    assert intent.outcome is Outcome.CHANGED
    assert world.calls(step.run_id).count("SetInstanceProtection") == 1


def test_what_an_action_says_of_itself_fits_together() -> None:
    """An undoing exists and acts on the same; what is harmless needs no right to change AWS."""
    for action in CATALOG.values():
        if action.undone_by is not None:
            assert CATALOG[action.undone_by].target is action.target
        assert action.target in TargetKind
        assert action.permissions == tuple(dict.fromkeys(action.permissions))


@pytest.fixture(autouse=True)
def _free(state: Database) -> Iterator[None]:
    yield
    with state.write() as connection:
        connection.execute(delete(tables.claims))
        claims.release(connection, "")
