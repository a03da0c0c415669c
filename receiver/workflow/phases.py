"""Runs the phases that the durable queue hands over, and replaces failed and lost ones."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import structlog
from structlog.contextvars import bound_contextvars

from actions.aws.errors import AWS_ERRORS, classify
from receiver.db.database import Database
from receiver.runs import store, transitions
from receiver.runs.model import Run
from receiver.workflow.durable_queue import DurableQueue, Phase, PhaseKind
from receiver.workflow.lifecycle import Lifecycle
from receiver.workflow.steps import RunStoppedError

_logger = structlog.get_logger()
# Attempts of a phase that raises, and the back-off between them.
_ATTEMPTS, _BACKOFF_S = 5, 2.0
# No phase runs or is delayed this long. The workflow of an older one is gone, or ended without
# effect.
_LOST_AFTER_S = 180.0


@dataclass(frozen=True, kw_only=True)
class PhaseRunner:
    """Runs phases; `clock` gives epoch seconds."""

    database: Database
    lifecycle: Lifecycle
    queue: DurableQueue
    clock: Callable[[], float]
    _locks: Sequence[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(256)], init=False
    )

    def handle(self, phase: Phase) -> None:
        """Run one phase. A phase that raises is run again later; its last failure ends the run."""
        # A second copy of a phase waits here, then finds that its run has another phase.
        with self._locks[hash(phase.run_id) % len(self._locks)]:
            with self.database.ask() as connection:
                run = store.get_at_work(connection, phase.run_id)
            if run is not None and run.phase == phase.id:
                with bound_contextvars(run=run.id):
                    self._run(run, phase)

    def _run(self, run: Run, phase: Phase) -> None:
        try:
            match phase.kind:
                case PhaseKind.ACT:
                    self.lifecycle.act(run, phase)
                case PhaseKind.VERIFY:
                    self.lifecycle.verify(run, phase)
                case PhaseKind.EXPIRE:
                    self.lifecycle.expire(run)
                case PhaseKind.FINISH:
                    self.lifecycle.finish(run, phase)
                case _:
                    assert_never(phase.kind)
        except RunStoppedError:
            _logger.info("rollback_stopped", run=run.id)
        except Exception as error:
            # After any error the run must end with an explanation.
            _logger.exception("phase_failed", run=run.id, phase=phase.kind)
            if phase.attempt + 1 < _ATTEMPTS:
                again = replace(phase, attempt=phase.attempt + 1)
                self._replace(run, again, delay_s=_BACKOFF_S * 2**phase.attempt)
            else:
                reason = f"{phase.kind} failed {_ATTEMPTS} times: {_described(error)}"
                self.lifecycle.give_up(run, phase, reason)

    def recover_lost(self) -> None:
        """Give each run with an overdue phase a new one.

        DBOS itself recovers the phases that it still has.
        """
        now = self.clock()
        with self.database.ask() as connection:
            overdue = store.with_overdue_phase(connection, before=now - _LOST_AFTER_S)
        for run in overdue:
            phase = Phase.first(run.id, Phase.parse(run.phase or "").kind, now)
            _logger.warning("overdue_phase_replaced", run=run.id, phase=phase.kind)
            self._replace(run, phase)

    def _replace(self, run: Run, phase: Phase, *, delay_s: float = 0.0) -> None:
        now = self.clock()
        with self.database.write() as connection:
            if transitions.move(connection, run, run.state, now, phase=phase.id):
                self.queue.enqueue(connection, phase, delay_s=delay_s)


def _described(error: Exception) -> str:
    """The call to AWS and its code, or else the error's class."""
    if not isinstance(error, AWS_ERRORS):
        return type(error).__name__
    call = getattr(error, "operation_name", "")
    return ": ".join(filter(None, (call, classify(error).name)))
