"""Gives back what a run's steps lent, and rolls back its other steps, the last one first.

Both are debts: one attempt after the other, until AWS shows that nothing is owed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from actions.aws.causes import Cause
from actions.aws.client_set import on_behalf_of
from actions.aws.errors import AWS_ERRORS, classify
from actions.aws.target_errors import (
    NotActionableError,
    StillChangingError,
    TargetGoneError,
    TooEarlyError,
)
from actions.base import Call, Outcome
from actions.catalog.registry import CATALOG, find_action
from actions.execution import debts, ledger
from actions.execution.debts import Debt, Settled
from actions.execution.ledger import Intent
from actions.execution.step import ReversedStep, Step
from actions.messaging import MessengerError
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from receiver.runs.model import Run
from receiver.workflow.endings import own_acts
from receiver.workflow.steps import StepRunner, recorded_step, step_of

_MAY_HAVE_HAPPENED = frozenset({Outcome.CHANGED, Outcome.UNKNOWN})
_DONE = frozenset({Outcome.CHANGED, Outcome.NOOP})
# Pause after each attempt for an ended run; after the last it is repeated.
_BACKOFF_S = (10.0, 20.0, 40.0, 60.0)


class BlockedError(Exception):
    """A pause of everything blocks rollback and escalation for now."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The result of an attempt: `settled`, or why it is still owed.

    `problem` is what a person must know. `person`: trying again does not help. `waits`: AWS does
    not show yet whether anything is owed, or it is too early. `changing`: AWS has not finished an
    earlier change.
    """

    settled: Settled | None = None
    problem: str = ""
    person: bool = False
    waits: bool = False
    changing: bool = False

    @property
    def again(self) -> bool:
        """Whether another attempt may help soon."""
        return self.settled is None and not self.person and not self.waits


@dataclass(frozen=True)
class Rollback:
    step_runner: StepRunner

    def reversible_steps(self, steps: Sequence[Intent], *, everything: bool) -> Sequence[Intent]:
        """Steps that can be rolled back and were not yet, the last one first.

        These are the steps released at the run's end and, with `everything`, all others.
        """
        reversed_steps = {step.undoes for step in steps if step.outcome in _DONE}
        reversed_steps |= own_acts.reversed_by_ladder(steps)
        return [
            step
            for step in sorted(steps, key=lambda step: step.step.order, reverse=True)
            if step.step.acts
            and step.step not in reversed_steps
            and step.outcome in _MAY_HAVE_HAPPENED
            and _must_be_reversed(step, everything=everything)
        ]

    def open_debts(self, steps: Sequence[Intent]) -> None:
        """Record that these steps are to be rolled back."""
        with self.step_runner.executor.begin() as connection:
            for step in steps:
                debts.open_debt(connection, step)

    def give_back(self, run: Run, key: StepKey, steps: Mapping[StepKey, Intent]) -> Attempt:
        """Try once to give back what the step lent, and record the result.

        `steps` are those in the ledger. Raises BlockedError and RunStoppedError.
        """
        executor = self.step_runner.executor
        with executor.begin() as connection:
            debt = debts.read_debt(connection, run.id, key)
        if debt is None:
            return Attempt(settled=Settled.GIVEN_BACK)
        attempt, now = self._try(run, steps[key], steps), executor.clock()
        if attempt.settled is Settled.GONE and not self._is_gone(debt, steps[key]):
            attempt = Attempt(problem=_gone(debt.target))
        with executor.begin() as connection:
            if attempt.settled is None:
                debts.postpone(connection, debt, _tried(debt, attempt, now), now)
            else:
                debts.settle(connection, debt, attempt.settled, now)
        return attempt

    def _try(self, run: Run, lent: Intent, steps: Mapping[StepKey, Intent]) -> Attempt:
        if lent.action not in CATALOG:
            problem = f"{lent.action} was not rolled back: the catalogue no longer has this action"
            return Attempt(settled=Settled.UNKNOWN, problem=problem)
        try:
            return self._give_back(run, lent, steps)
        except TargetGoneError as error:
            return Attempt(settled=Settled.GONE, problem=_kept(lent, str(error)))
        except NotActionableError as error:
            early = isinstance(error, TooEarlyError)
            changing = isinstance(error, StillChangingError) and not early
            person = not changing and not early
            return Attempt(problem=str(error), person=person, waits=early, changing=changing)
        except MessengerError as error:
            return Attempt(problem=str(error))
        except AWS_ERRORS as error:
            return Attempt(problem=classify(error).name)

    def _give_back(self, run: Run, lent: Intent, steps: Mapping[StepKey, Intent]) -> Attempt:
        executor, action = self.step_runner.executor, find_action(lent.action)
        lent = executor.settle_lost(recorded_step(run, lent), lent)
        attempts = sorted(
            (step for step in steps.values() if step.undoes == lent.step),
            key=lambda step: step.step.number,
        )
        call = replace(
            executor.call(lent),
            acted_on=own_acts.acted_on(steps),
            at_work=own_acts.at_work(executor, lent, steps),
            sent_at=lent.sent_at,
            unrefused_s=executor.clock() - own_acts.refused_at(lent, attempts),
        )
        with on_behalf_of(run.id):
            owed = action.unchanged_since(call)
        if not owed:
            return self._nothing_owed(lent, attempts)
        last = attempts[-1] if attempts else None
        called = last is not None and last.outcome in _DONE | {Outcome.UNKNOWN}
        if last is not None and called and not self._is_shown(last):
            return Attempt(problem=_not_shown(last.action))
        undo = action.undo(call)
        if undo is None:
            return Attempt(problem=f"what {lent.action} created is not known", person=True)
        step = replace(
            recorded_step(run, lent),
            key=lent.step.reversal(len(attempts) - (last is not None and last.outcome is None)),
            action=find_action(undo.action),
            params=undo.params,
            reverses=ReversedStep(action, lent),
            # Giving a lease back must not make the next run on the target wait.
            cooldown_s=0.0 if action.released_at_end else step_of(run).cooldown_s,
        )
        return self._reverse(run, step, call)

    def _reverse(self, run: Run, step: Step, lent: Call) -> Attempt:
        result = self.step_runner.run_step(run, step)
        if isinstance(result, Refusal):
            if result.reason is Reason.PAUSED:
                raise BlockedError
            return Attempt(problem=result.detail)
        if result.outcome not in _DONE:
            return Attempt(problem=result.error or "", person=result.cause is Cause.STATE)
        if step.reverses is None:
            raise LookupError(f"{step.action.name} reverses nothing")
        with on_behalf_of(run.id):
            owed = step.reverses.action.unchanged_since(lent)
        if owed:
            return Attempt(problem=_not_shown(step.action.name))
        return Attempt(settled=Settled.GIVEN_BACK)

    def _is_gone(self, debt: Debt, lent: Intent) -> bool:
        """Whether a target is believed to be gone: one empty answer is no proof of it."""
        lease = find_action(lent.action).released_at_end
        told_before = debt.problem == _gone(debt.target)
        return not lease or (told_before and debt.ended_at is not None and self._is_shown(lent))

    def _is_shown(self, step: Intent) -> bool:
        """Whether AWS must show by now what the step did."""
        within_s = find_action(step.action).shown_within_s
        return ledger.is_shown(step, within_s, self.step_runner.executor.clock())

    def _nothing_owed(self, lent: Intent, attempts: Sequence[Intent]) -> Attempt:
        """AWS shows nothing to give back: it was given back, never lent, or changed by others."""
        if any(attempt.outcome in _DONE for attempt in attempts):
            return Attempt(settled=Settled.GIVEN_BACK)
        if not self._is_shown(lent):
            problem = f"AWS does not show yet whether {lent.action} happened"
            return Attempt(problem=problem, waits=True)
        if lent.outcome is not Outcome.CHANGED:
            return Attempt(settled=Settled.NEVER_LENT)
        changed = (
            f"{lent.target} was changed after {lent.action}: a rollback would overwrite that change"
        )
        return Attempt(settled=Settled.CHANGED, problem=_kept(lent, changed))


def _gone(target: str) -> str:
    return f"AWS does not show {target} any more"


def _not_shown(action: str) -> str:
    return f"AWS does not show yet what became of {action}"


def _tried(debt: Debt, attempt: Attempt, now: float) -> Debt:
    """The debt after an attempt; the next one is due only once its run has ended."""
    wait_s = _BACKOFF_S[min(debt.attempts, len(_BACKOFF_S) - 1)]
    return replace(
        debt,
        attempts=debt.attempts + 1,
        problem=attempt.problem,
        needs_person=attempt.person,
        next_at=None if debt.ended_at is None else now + wait_s,
    )


def _kept(lent: Intent, why: str) -> str:
    """The problem of a step that cannot be rolled back; none of a lease that has ended itself."""
    if find_action(lent.action).released_at_end:
        return ""
    return f"{lent.action} was not rolled back: {why}"


def _must_be_reversed(step: Intent, *, everything: bool) -> bool:
    """Whether to reverse the step, or, for a retired action, to report it to a person."""
    action = find_action(step.action)
    if step.action not in CATALOG:
        return everything or step.step.kind is StepKind.BEFORE
    return action.undone_by is not None and (everything or action.released_at_end)
