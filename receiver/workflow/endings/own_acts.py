"""The acts of a run as its recorded steps tell them: on whom, until when, and what they undid."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from actions.aws.client_set import on_behalf_of
from actions.aws.instances import INSTANCE_ID
from actions.aws.target_errors import NotActionableError
from actions.base import Outcome, Progress, StepResult
from actions.catalog.registry import find_action
from actions.execution import disruption_budget
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.step_key import StepKey, StepKind

_ENDED = frozenset({StepResult.HELPED, StepResult.DID_NOT_HELP, StepResult.NEVER_RAN})


def acted_on(steps: Mapping[StepKey, Intent]) -> Sequence[str]:
    acted = (step for step in steps.values() if step.step.acts and step.dispatched_at is not None)
    return sorted({step.target for step in acted if INSTANCE_ID.fullmatch(step.target)})


def at_work(executor: Executor, lent: Intent, steps: Mapping[StepKey, Intent]) -> Sequence[str]:
    """The instances on which AWS may still be at work, in the group to which something was lent.

    For the run itself by its `steps`, and for other runs while they have them out of service.
    Raises botocore's errors.
    """
    own = {step.target for step in steps.values() if _is_at_work(executor, step)}
    with executor.begin() as connection:
        others = disruption_budget.reserved_by_others(connection, lent.place, lent.run_id)
    return sorted(own | others.get(disruption_budget.group_scope(lent.target), frozenset()))


def _is_at_work(executor: Executor, step: Intent) -> bool:
    """Whether the step acted on an instance, and neither AWS's time for it is up nor its end shown.

    What AWS does not show to have ended may go on until then.
    """
    acted = step.step.kind in {StepKind.LADDER, StepKind.ROLLBACK}
    happened = step.outcome in {Outcome.CHANGED, Outcome.UNKNOWN} and step.result not in _ENDED
    if not acted or not happened or not INSTANCE_ID.fullmatch(step.target):
        return False
    action, call = find_action(step.action), executor.call(step)
    with on_behalf_of(step.run_id), suppress(NotActionableError):
        until = (step.dispatched_at or step.started_at) + action.lasts_up_to_s(call)
        if executor.clock() >= until or not action.shows_end:
            return executor.clock() < until
        return action.progress(call) is Progress.UNDERWAY
    return False


def refused_at(lent: Intent, attempts: Sequence[Intent]) -> float:
    """When a rollback of the step was refused last, or else when the step was made."""
    refused = [step for step in attempts if step.outcome is Outcome.FAILED]
    last = max([lent, *refused], key=lambda step: step.started_at)
    return last.ended_at or last.started_at


def reversed_by_ladder(steps: Sequence[Intent]) -> set[StepKey]:
    """Steps that a later rung has reversed by itself, and that rung: a stop and its start."""
    taken = sorted((step for step in steps if step.step.acts), key=lambda step: step.step.order)
    keys: set[StepKey] = set()
    for later in taken:
        for earlier in taken[: taken.index(later)]:
            undone_by = find_action(earlier.action).undone_by
            changed = {earlier.outcome, later.outcome} == {Outcome.CHANGED}
            if changed and undone_by == later.action and earlier.target == later.target:
                keys |= {earlier.step, later.step}
    return keys
