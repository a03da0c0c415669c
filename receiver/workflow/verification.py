"""Verifies whether a run's target has recovered: by AWS's progress, then by metrics."""

from dataclasses import dataclass
from enum import Enum, auto

import structlog

from actions.aws.client_set import on_behalf_of
from actions.aws.clients import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Outcome, Progress
from actions.catalog.registry import find_action
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.messaging import MessengerError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.condition import holds
from receiver.runs.model import Run
from receiver.workflow.steps import plan_of

_log = structlog.get_logger()


class Health(Enum):
    """The target's health after a step. FAILING means that it is useless to wait longer."""

    RECOVERED = auto()
    PENDING = auto()
    FAILING = auto()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Verifies a run's last step."""

    executor: Executor
    prometheus: Prometheus

    def check(self, run: Run, step: Intent, now: float) -> Health:
        progress = self._progress(run, step)
        if progress is Progress.DONE and self._recovered(run, step, now):
            return Health.RECOVERED
        late = now > (run.verify_until or 0)
        if late or progress is Progress.FAILED or self._worse(run, now):
            return Health.FAILING
        return Health.PENDING

    def _progress(self, run: Run, step: Intent) -> Progress:
        """The progress of the step's effect in AWS; UNDERWAY if AWS does not answer."""
        try:
            with on_behalf_of(run.id):
                return find_action(step.action).progress(self.executor.call(step))
        except (*AWS_ERRORS, NotActionableError, MessengerError) as error:
            _log.warning("step_progress_read_failed", run=run.id, error=type(error).__name__)
            return Progress.UNDERWAY

    def _recovered(self, run: Run, step: Intent, now: float) -> bool:
        """Whether metrics show recovery; False without data or an answer."""
        expressions = [plan_of(run).verify.expr]
        if step.outcome is Outcome.CHANGED and step.dispatched_at is not None:
            recovery = find_action(step.action).recovery_expr(
                self.executor.call(step), step.dispatched_at
            )
            expressions += [recovery] if recovery else []
        return all(holds(self.prometheus, expr, now) is True for expr in expressions)

    def _worse(self, run: Run, now: float) -> bool:
        """Whether metrics show that the target got worse, so that the run need not wait longer."""
        worse = plan_of(run).verify.worse
        return worse is not None and holds(self.prometheus, worse, now) is True
