"""Rolls back the steps of a run, the last one first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import StillChangingError
from actions.base import Outcome
from actions.catalog.registry import CATALOG, find_action
from actions.execution.ledger import Intent
from actions.execution.step import ReversedStep
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from receiver.runs.model import Run
from receiver.workflow.steps import StepRunner, step_of

_MAY_HAVE_HAPPENED = frozenset({Outcome.CHANGED, Outcome.UNKNOWN})


class BlockedError(Exception):
    """A pause of everything blocks rollback and escalation for now."""


def _reversed_by_ladder(steps: Sequence[Intent]) -> set[StepKey]:
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


@dataclass(frozen=True)
class Rollback:
    step_runner: StepRunner

    def reversible_steps(self, steps: Sequence[Intent], *, everything: bool) -> Sequence[Intent]:
        """Steps that can be rolled back and were not yet, the last one first.

        These are the steps released at the run's end and, with `everything`, all others.
        """
        reversed_steps = {step.undoes for step in steps if step.undoes is not None}
        reversed_steps |= _reversed_by_ladder(steps)
        return [
            step
            for step in sorted(steps, key=lambda step: step.step.order, reverse=True)
            if step.step.acts
            and step.step not in reversed_steps
            and step.outcome in _MAY_HAVE_HAPPENED
            and self._must_be_reversed(step, everything=everything)
        ]

    def _must_be_reversed(self, step: Intent, *, everything: bool) -> bool:
        """Whether to reverse the step, or, for a retired action, to report it to a person."""
        action = find_action(step.action)
        if step.action not in CATALOG:
            return everything or step.step.kind is StepKind.BEFORE
        undo = action.undo(self.step_runner.executor.call(step))
        return undo is not None and (everything or action.released_at_end)

    def roll_back(self, run: Run, steps: Sequence[Intent]) -> Sequence[str]:
        """Roll back the steps in this order. Returns a sentence for each failure.

        Raises BlockedError, RunStoppedError, and, after trying all, the first error of a read from
        AWS or StillChangingError. It is safe to repeat: the ledger records completed steps.
        """
        problems = []
        unreadable: Exception | None = None
        for step in steps:
            if step.action not in CATALOG:
                problems.append(
                    f"{step.action} was not rolled back: the catalogue no longer has this action"
                )
                continue
            try:
                result = self._reverse(run, step)
            except (*AWS_ERRORS, StillChangingError) as error:
                # Go on, because earlier steps must not wait until AWS answers about this one.
                unreadable = unreadable or error
                continue
            if isinstance(result, Refusal) and result.reason is Reason.PAUSED:
                raise BlockedError
            if isinstance(result, Refusal):
                problems.append(f"{step.action} was not rolled back: {result.detail}")
            elif result.outcome not in {Outcome.CHANGED, Outcome.NOOP}:
                problems.append(f"{step.action} was not rolled back: {result.error}")
        if unreadable is not None:
            raise unreadable
        return problems

    def _reverse(self, run: Run, intent: Intent) -> Intent | Refusal:
        action = find_action(intent.action)
        undo = action.undo(self.step_runner.executor.call(intent))
        if undo is None:
            raise LookupError(f"{intent.action} cannot be rolled back")
        step = replace(
            step_of(run),
            key=intent.step.reversal,
            action=find_action(undo.action),
            target=intent.target,
            params=undo.params,
            reverses=ReversedStep(action, intent),
        )
        return self.step_runner.run_step(run, step)
