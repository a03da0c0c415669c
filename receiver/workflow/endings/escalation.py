"""Escalates a failed run: performs the playbook's `escalate` steps, which notify or page people.

A step that reaches nobody is tried again with back-off. An attempt without an answer counts as
failed: a second message is better than none. Each attempt is a step in the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from actions.base import Outcome
from actions.catalog.registry import find_action
from actions.execution.ledger import Intent
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from receiver.runs.model import PlannedAction, Run
from receiver.workflow.endings.rollback import BlockedError
from receiver.workflow.metrics import EscalationOutcome
from receiver.workflow.steps import StepRunner, plan_of, step_of

_log = structlog.get_logger()
# Pauses between the attempts, more than four minutes in total. After a single longer pause
# `PhaseRunner` would treat the phase as lost.
_BACK_OFF_S = (5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0)
_REACHED = frozenset({Outcome.CHANGED, Outcome.NOOP})


@dataclass(frozen=True)
class Escalation:
    step_runner: StepRunner

    def escalate(
        self, run: Run, recorded: Mapping[StepKey, Intent]
    ) -> tuple[float | None, Sequence[str]]:
        """Attempt each step that has reached nobody; `recorded` are the steps in the ledger.

        Returns the seconds until the next attempt, or None, and the steps that reached nobody.
        Raises BlockedError.
        """
        retry_after_s, abandoned = None, []
        for position, stored in enumerate(plan_of(run).escalate):
            attempts = [
                intent
                for key, intent in sorted(recorded.items(), key=lambda item: item[0].number)
                if key.kind is StepKind.ESCALATION and key.position == position
            ]
            if any(intent.outcome in _REACHED for intent in attempts):
                continue
            unsettled = bool(attempts) and attempts[-1].outcome is None
            attempt = len(attempts) - unsettled
            if attempt <= len(_BACK_OFF_S) and self._attempt(run, position, stored, attempt):
                continue
            if attempt < len(_BACK_OFF_S):
                retry_after_s = min(retry_after_s or _BACK_OFF_S[attempt], _BACK_OFF_S[attempt])
            else:
                abandoned.append(stored.action)
        return retry_after_s, abandoned

    def _attempt(self, run: Run, position: int, stored: PlannedAction, attempt: int) -> bool:
        """Make one attempt. Returns whether it reached people."""
        step = replace(
            step_of(run),
            key=StepKey.escalation(position, attempt),
            action=find_action(stored.action),
            target=run.target or plan_of(run).target,
            params=stored.params,
            cooldown_s=0.0,
            escalates=True,
        )
        result = self.step_runner.run_step(run, step)
        if isinstance(result, Refusal):
            raise BlockedError
        last = attempt == len(_BACK_OFF_S)
        outcome = EscalationOutcome.ABANDONED if last else EscalationOutcome.FAILED
        if result.outcome in _REACHED:
            outcome = EscalationOutcome.DELIVERED
        else:
            _log.error(
                "escalation_failed",
                run=run.id,
                action=step.action.name,
                error=result.error,
                last_attempt=last,
            )
        self.step_runner.metrics.escalations.labels(outcome).inc()
        return outcome is EscalationOutcome.DELIVERED
