"""What became of a scene: by the service's records, and by AWS's own state."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from actions.base import Outcome, StepResult
from actions.execution import ledger
from actions.step_key import StepKind
from bench.scenes.scene import Act, Scene
from demo.aws.emulator import Emulator
from receiver.db.database import Database
from receiver.runs.model import Run, State

_ENDING = frozenset({"shutting-down", "terminated"})
# AWS refused a step, did not deliver it, or was at work on it for too long.
_UNDONE = frozenset({StepResult.NEVER_RAN, StepResult.UNDER_WAY})


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What became of a scene.

    `asked` are steps that wait for a person. `lost` are members that were terminated, or will be.
    `owed` are the group's processes that stayed suspended. `uncooperative`: AWS did not do what it
    was told, or not in time.
    """

    acts: Sequence[Act]
    asked: frozenset[Act]
    lost: frozenset[str]
    states: frozenset[State]
    person: bool
    owed: frozenset[str]
    uncooperative: bool
    reasons: Sequence[str]


def owed(aws: Emulator, scene: Scene) -> frozenset[str]:
    """The processes of its group that are suspended, and were not before."""
    return frozenset(aws.world.groups[scene.name].suspended - scene.suspended)


def read_performed(
    scene: Scene,
    all_runs: Sequence[Run],
    database: Database,
    aws: Emulator,
    doomed: AbstractSet[str],
) -> Performed:
    """What became of the scene; its group replaces the `doomed` whatever anybody does."""
    runs = [run for run in all_runs if run.labels["asg"] == scene.name]
    with database.read() as connection:
        by_run = ledger.intents_by_run(connection, [run.id for run in runs])
    steps = [
        step
        for steps in by_run.values()
        for step in steps
        if step.step.kind is StepKind.LADDER and step.dispatched_at is not None
    ]
    sent = sorted(
        (step for step in steps if step.outcome is not Outcome.FAILED),
        key=lambda step: step.dispatched_at or 0.0,
    )
    asking = [run.plan for run in runs if run.plan and run.state is State.AWAITING_APPROVAL]
    instances = aws.world.instances
    return Performed(
        acts=[Act(step.action, step.target) for step in sent],
        asked=frozenset(Act(plan.action, plan.target) for plan in asking),
        lost=frozenset(name for name in scene.targets - doomed if instances[name].state in _ENDING),
        states=frozenset(run.state for run in runs),
        person=any("a person is needed" in (run.outcome or "") for run in runs),
        owed=owed(aws, scene),
        uncooperative=any(step.result in _UNDONE for step in steps),
        reasons=[f"{run.state}: {run.refusal or ''} {run.outcome}" for run in runs],
    )
