"""Endings: the rollback of a run's steps, then the escalation, before the run is closed.

A run keeps its ending until it has been carried out. What AWS does not take back meanwhile is owed
beyond the end of the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from actions.aws.errors import AWS_ERRORS, classify
from actions.aws.target_errors import NotActionableError
from actions.base import Outcome
from actions.catalog.registry import find_action
from actions.execution import kill_switch
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.step_key import StepKey
from receiver.runs.model import Ending, Run, State
from receiver.workflow.endings.escalation import Escalation
from receiver.workflow.endings.rollback import Attempt, BlockedError, Rollback
from receiver.workflow.steps import plan_of, recorded_step

# Retry interval while a pause of everything, or AWS itself, blocks a rollback or an escalation.
_BLOCKED_RETRY_S = 30.0
# Pauses between a run's own attempts to give back; nobody waits longer for the escalation.
_BACKOFF_S = (2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class EndingRunner:
    """Carries out endings.

    With an ending come the seconds until it must be carried out again; None if it is complete.
    """

    rollback: Rollback
    escalation: Escalation

    def plan(
        self, run: Run, state: State, outcome: str, steps: Mapping[StepKey, Intent]
    ) -> Ending | None:
        """The work before the run can end in `state`; None if there is none."""
        failed, plan = state is State.FAILED, run.plan
        everything = state is State.ROLLED_BACK or (failed and plan is not None and plan.rollback)
        reversible = self.rollback.reversible_steps([*steps.values()], everything=everything)
        escalate = failed and plan is not None and bool(plan.escalate)
        if not reversible and not escalate and not self._half_done(steps):
            return None
        roll_back = [step.step for step in reversible]
        return Ending(state=state, outcome=outcome, roll_back=roll_back, escalate=escalate)

    def carry_out(self, run: Run, steps: Mapping[StepKey, Intent]) -> tuple[Ending, float | None]:
        """Cancel what is half done, roll back, then escalate. Raises RunStoppedError."""
        ending = _ending_of(run)
        try:
            ending = self._call_off(run, ending, steps)
            ending, retry_after_s = self._roll_back(run, ending, steps)
            if retry_after_s is not None or not ending.escalate:
                return ending, retry_after_s
            retry_after_s, unreached = self.escalation.escalate(run, steps)
        except BlockedError:
            return ending, _BLOCKED_RETRY_S
        return replace(ending, unreached=unreached), retry_after_s

    def _call_off(self, run: Run, ending: Ending, steps: Mapping[StepKey, Intent]) -> Ending:
        """Cancel what is half done, once, before the rollback. Raises BlockedError."""
        owed, problems = [*ending.owed], [*ending.problems]
        for step in self._half_done(steps) if not ending.attempts else ():
            try:
                called_off = self.executor.cancel(recorded_step(run, step), step)
            except (*AWS_ERRORS, NotActionableError) as error:
                name = str(error) if isinstance(error, NotActionableError) else classify(error).name
                problems.append(f"{step.action} was not called off: {name}")
                continue
            if called_off.cancelled_at is not None:
                owed.append(f"{step.action} was called off before its last call")
            elif self._is_stopped():
                raise BlockedError
            else:
                problems.append(f"{step.action} was not called off: its claim has ended")
        return replace(ending, owed=owed, problems=problems)

    def _half_done(self, steps: Mapping[StepKey, Intent]) -> Sequence[Intent]:
        """Steps of several calls whose last one was not made."""
        return [
            step
            for step in steps.values()
            if find_action(step.action).cancelled_at_end
            and step.outcome in {Outcome.CHANGED, Outcome.UNKNOWN}
            and step.cancelled_at is None
            and find_action(step.action).can_cancel(self.executor.call(step))
        ]

    def _is_stopped(self) -> bool:
        """Whether everything is paused."""
        with self.executor.begin() as connection:
            return kill_switch.stops_everything(connection)

    @property
    def executor(self) -> Executor:
        return self.rollback.step_runner.executor

    def _roll_back(
        self, run: Run, ending: Ending, steps: Mapping[StepKey, Intent]
    ) -> tuple[Ending, float | None]:
        """Try each step that is still owed; after the last attempt it stays owed."""
        if not ending.attempts:
            self.rollback.open_debts([steps[key] for key in ending.roll_back])
        attempts = {key: self.rollback.give_back(run, key, steps) for key in ending.roll_back}
        told = [attempt.problem for attempt in attempts.values() if attempt.settled]
        owed = {key: attempt for key, attempt in attempts.items() if attempt.settled is None}
        ending = replace(
            ending,
            roll_back=[*owed],
            attempts=ending.attempts + 1,
            rolled_back=ending.rolled_back or bool(attempts),
            problems=[*ending.problems, *filter(None, told)],
        )
        if any(attempt.changing for attempt in owed.values()):
            return replace(ending, attempts=1), _BLOCKED_RETRY_S
        again = any(attempt.again for attempt in owed.values())
        if again and ending.attempts <= len(_BACKOFF_S):
            return ending, _BACKOFF_S[ending.attempts - 1]
        return _leave_owed(ending, owed, steps), None

    def without_rollback(self, run: Run, problem: str) -> tuple[Ending, float | None]:
        """The ending after a rollback that failed in every attempt: people are still called."""
        ending = _ending_of(run)
        left = replace(ending, roll_back=(), problems=[*ending.problems, problem])
        return left, 0.0 if ending.roll_back and ending.escalate else None

    def result(self, run: Run, ending: Ending) -> tuple[State, str]:
        """The final state of the run, and its outcome."""
        state = ending.state
        outcome = [ending.outcome, *(f"{action} reached nobody" for action in ending.unreached)]
        outcome += ending.owed
        if ending.problems:
            state = State.FAILED
            outcome += [*ending.problems, "a person is needed"]
        elif state is State.FAILED and plan_of(run).rollback and ending.rolled_back:
            state = State.ROLLED_BACK
            outcome.append("its steps were rolled back")
        return state, "; ".join(outcome)


def _leave_owed(
    ending: Ending, owed: Mapping[StepKey, Attempt], steps: Mapping[StepKey, Intent]
) -> Ending:
    """The ending that tells what is still owed: a lease fails no run, a rollback does."""
    leases: list[str] = []
    others: list[str] = []
    for key, attempt in owed.items():
        step = steps[key]
        text = f"{step.action} on {step.target} is still owed: {attempt.problem}"
        (leases if find_action(step.action).released_at_end else others).append(text)
    return replace(
        ending,
        roll_back=(),
        owed=[*ending.owed, *leases],
        problems=[*ending.problems, *others],
    )


def _ending_of(run: Run) -> Ending:
    if run.ending is None:
        raise LookupError(f"run {run.id} has no ending to finish")
    return run.ending
