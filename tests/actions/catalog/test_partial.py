"""Actions of several calls: what was done in part is never told as failed, also while reads lag."""

import copy

import pytest
from sqlalchemy import delete
from ulid import ULID

from actions import tables
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.step_key import StepKey, StepKind
from demo.aws.hardness import CALM, Hardness
from demo.aws.world import AwsError, target_group_arn
from receiver.db.database import Database
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, HOST, Case, World
from tests.executors import executor

_READS = ("Describe", "Get", "List", "Lookup")
# Actions that change several things in AWS.
_SEVERAL = {
    "deregister_target",
    "emergency_shutdown",
    "end_emergency_shutdown",
    "quarantine_instance",
    "register_target",
    "release_quarantine",
    "resume_processes",
}


class Changes:
    """Counts the changes that are asked of AWS, and refuses each from the `refused`th on."""

    def __init__(self, refused: int) -> None:
        self.refused, self.count = refused, 0

    def __call__(self, operation: str, when: str) -> None:
        if when == "before" and not operation.startswith(_READS):
            self.count += 1
            if self.count >= self.refused:
                raise AwsError("UnauthorizedOperation", status=403)


def _world(case: Case) -> tuple[World, str]:
    """A host with two interfaces behind two target groups."""
    world = World()
    group = world.group
    arns = [target_group_arn("web"), target_group_arn("admin")]
    world.emulator.world.attach(group, *arns)
    for arn in arns:
        world.emulator.world.target_groups[arn].delay_s = 5.0
    world.host.interfaces["eni-00000001"] = next(iter(world.host.interfaces.values()))
    target = GROUP if case.of_group else HOST
    case.before(world, target)
    # Else a step of its own suspends it before the member leaves.
    group.suspended.add("AZRebalance")
    world.clock.now += 20
    world.emulator.pass_time()
    return world, target


def _act(case: Case, state: Database, refused: int, *, lag_s: float) -> tuple[int, bool, Intent]:
    """How many changes were asked for, whether one was made, and what the step became."""
    world, target = _world(case)
    step = Step(
        run_id=str(ULID()),
        key=StepKey(StepKind.LADDER, 0),
        action=CATALOG[case.action],
        target=target,
        params=case.params(world),
        playbook="test",
        group="" if case.of_group else GROUP,
        cooldown_s=0,
        bounds=Bounds(percent=100, min_healthy=0),
        counts=False,
    )
    world.emulator.core.hardness = Hardness(lag_s=lag_s) if lag_s else CALM
    changes = world.emulator.trouble = Changes(refused)
    before = copy.deepcopy(world.emulator.world)
    acting = executor(world.aws, state.write, world.clock, world.messenger)
    intent = acting.execute(step)
    changed = world.emulator.world != before
    assert isinstance(intent, Intent)
    if changed:
        assert intent.outcome is not Outcome.FAILED
    world.clock.now += step.action.shown_within_s
    intent = acting.settle_lost(step, intent)
    with state.write() as connection:
        # The next world begins in the past of this one.
        connection.execute(delete(tables.claims))
    return changes.count, changed, intent


@pytest.mark.parametrize("lag_s", [0.0, 10.0])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.action in _SEVERAL], ids=lambda case: case.action
)
def test_what_was_done_in_part_is_unknown(case: Case, lag_s: float, state: Database) -> None:
    """From any of its calls on AWS refuses: it failed only where nothing was changed."""
    count, *_ = _act(case, state, 1_000, lag_s=lag_s)
    assert count > 1
    for refused in range(1, count + 1):
        _, changed, intent = _act(case, state, refused, lag_s=lag_s)
        assert intent.outcome is (Outcome.UNKNOWN if changed else Outcome.FAILED), refused


def test_every_action_of_several_calls_is_tried(state: Database) -> None:
    several = {case.action for case in CASES if _act(case, state, 1_000, lag_s=0.0)[0] > 1}
    assert several == _SEVERAL
