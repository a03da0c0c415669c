"""Escalates a failed run: performs the playbook's `escalate` steps, which notify or page people.

These steps have numbers of their own in the ledger, far above the ladder's, so that a crash finds
them again.
"""

from dataclasses import dataclass, replace

import structlog

from actions.base import Outcome
from actions.catalog.registry import find_action
from actions.refusal import Refusal
from receiver.runs.model import Run
from receiver.workflow.steps import ESCALATE_FROM, StepRunner, plan_of, step_of

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Escalation:
    step_runner: StepRunner

    def escalate(self, run: Run) -> None:
        """Perform each step; a denial or failure is logged, and the run ends all the same."""
        for number, stored in enumerate(plan_of(run)["escalate"]):
            action = find_action(stored["action"])
            step = replace(
                step_of(run),
                index=ESCALATE_FROM + number,
                action=action,
                target=run.target or plan_of(run)["target"],
                params=stored["params"],
                cooldown_s=0.0,
            )
            result = self.step_runner.run_step(run, step)
            if isinstance(result, Refusal) or result.outcome is not Outcome.CHANGED:
                error = str(result.reason) if isinstance(result, Refusal) else result.error
                _log.error("escalation_failed", run=run.id, action=action.name, error=error)
