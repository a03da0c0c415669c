"""Endings: the rollback of a run's steps, then the escalation, before the run is closed.

A run keeps its ending until it has been carried out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from actions.aws.target_errors import StillChangingError
from actions.execution.ledger import Intent
from actions.step_key import StepKey
from receiver.runs.model import Ending, Run, State
from receiver.workflow.endings.escalation import Escalation
from receiver.workflow.endings.rollback import BlockedError, Rollback
from receiver.workflow.steps import plan_of

# Retry interval while a pause of everything, or AWS itself, blocks a rollback or an escalation.
_BLOCKED_RETRY_S = 30.0


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
        if not reversible and not escalate:
            return None
        roll_back = [step.step for step in reversible]
        return Ending(state=state, outcome=outcome, roll_back=roll_back, escalate=escalate)

    def carry_out(self, run: Run, steps: Mapping[StepKey, Intent]) -> tuple[Ending, float | None]:
        """Roll back, then escalate. Raises RunStoppedError."""
        ending = _ending_of(run)
        try:
            reversible = [steps[key] for key in ending.roll_back]
            problems = self.rollback.roll_back(run, reversible)
            ending = replace(
                ending,
                roll_back=(),
                rolled_back=ending.rolled_back or bool(reversible),
                problems=[*ending.problems, *problems],
            )
            if not ending.escalate:
                return ending, None
            retry_after_s, unreached = self.escalation.escalate(run, steps)
        except (BlockedError, StillChangingError):
            return ending, _BLOCKED_RETRY_S
        return replace(ending, unreached=unreached), retry_after_s

    def without_rollback(self, run: Run, problem: str) -> tuple[Ending, float | None]:
        """The ending after a rollback that failed in every attempt: people are still called."""
        ending = _ending_of(run)
        left = replace(ending, roll_back=(), problems=[*ending.problems, problem])
        return left, 0.0 if ending.roll_back and ending.escalate else None

    def result(self, run: Run, ending: Ending) -> tuple[State, str]:
        """The final state of the run, and its outcome."""
        state = ending.state
        outcome = [ending.outcome, *(f"{action} reached nobody" for action in ending.unreached)]
        if ending.problems:
            state = State.FAILED
            outcome += [*ending.problems, "a person is needed"]
        elif state is State.FAILED and plan_of(run).rollback and ending.rolled_back:
            state = State.ROLLED_BACK
            outcome.append("its steps were rolled back")
        return state, "; ".join(outcome)


def _ending_of(run: Run) -> Ending:
    if run.ending is None:
        raise LookupError(f"run {run.id} has no ending to finish")
    return run.ending
