"""Gives back what ended runs still owe, until AWS shows that it is given back.

Neither a pause, an override nor a disarming stops it; only a pause of everything does.
"""

from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError

from actions.execution import claims, debts, ledger
from actions.execution.debts import Debt
from receiver.db.database import Database
from receiver.runs import store
from receiver.runs.model import Run
from receiver.runtime.periodic import Periodic
from receiver.workflow.endings.rollback import BlockedError, Rollback
from receiver.workflow.steps import RunStoppedError

_logger = structlog.get_logger()
_EVERY_S, _STOP_S = 5.0, 15.0


@dataclass(kw_only=True)
class DebtRunner:
    """A thread of the leader that calls `run_once` every five seconds."""

    database: Database
    rollback: Rollback
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("debts", _EVERY_S, self.run_once, stop_wait_s=_STOP_S)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Try each debt that is due. A failure is logged, and the next call tries again."""
        try:
            with self.database.ask() as connection:
                due = debts.list_due(connection, self.rollback.step_runner.executor.clock())
        except SQLAlchemyError as error:
            _logger.warning("debts_unreadable", error=type(error).__name__)
            return
        for debt in due:
            if self._periodic.stopping.is_set():
                return
            try:
                self._give_back(debt)
            except Exception:
                # The other debts must not wait for this one.
                _logger.exception("debt_attempt_failed", run=debt.run_id, action=debt.action)

    def _give_back(self, debt: Debt) -> None:
        with self.database.read() as connection:
            run = store.get(connection, debt.run_id)
            steps = ledger.intents_by_run(connection, [debt.run_id]).get(debt.run_id, ())
        if run is None or not run.state.ended:
            return
        try:
            attempt = self.rollback.give_back(run, debt.step, {step.step: step for step in steps})
        except (BlockedError, RunStoppedError):
            return
        finally:
            self._release(run)
        _logger.info(
            "debt_tried",
            run=run.id,
            action=debt.action,
            target=debt.target,
            settled=attempt.settled and str(attempt.settled),
            problem=attempt.problem or None,
        )

    def _release(self, run: Run) -> None:
        """End the claim that an attempt took; the run has ended, so nobody else would."""
        with self.rollback.step_runner.executor.begin() as connection:
            claims.release(connection, run.id)
