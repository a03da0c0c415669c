"""What became of a scene: by the service's records, and by AWS's own state."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actions.base import Outcome
from actions.catalog.ssm.capture import DOCUMENT
from actions.execution import ledger
from actions.step_key import StepKind
from bench.scenes.scene import Act, Scene
from demo.aws.emulator import Emulator
from receiver.db.database import Database
from receiver.runs.model import Run, State

# The label of alerts that names their scene.
SCENE = "scene"
_ENDING = frozenset({"shutting-down", "terminated"})
# An agent that listens has a command by then.
_DELIVERED_S = 60.0
_REFUSED = 400


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What became of a scene.

    `asked` are steps that wait for a person. `lost` are members that were terminated, or will be.
    `owed` are the group's processes that stayed suspended. `uncooperative`: by its own records AWS
    did not do what it was told, or not in time.
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
    runs = [run for run in all_runs if run.labels[SCENE] == scene.name]
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
        uncooperative=_is_uncooperative(aws, scene, {run.id for run in runs}),
        reasons=[f"{run.state}: {run.refusal or ''} {run.outcome}" for run in runs],
    )


def _is_uncooperative(aws: Emulator, scene: Scene, run_ids: AbstractSet[str]) -> bool:
    """Whether a command came late or never, a launch failed, or a call was refused to the last."""
    commands = [
        command
        for command in aws.world.commands
        if scene.targets.intersection(command["InstanceIds"])
        and command["DocumentName"] != DOCUMENT
    ]
    failed = any(
        activity["StatusCode"] == "Failed" for activity in aws.world.groups[scene.name].activities
    )
    last = {call.operation: call.status for call in aws.log if call.session in run_ids}
    refused = any(status >= _REFUSED for status in last.values())
    return failed or refused or any(map(_is_late, commands))


def _is_late(command: Mapping[str, Any]) -> bool:
    if "StartedAt" not in command:
        return True
    started_at = datetime.fromisoformat(command["StartedAt"]).timestamp()
    return bool(started_at - command["SentAt"] > _DELIVERED_S)
