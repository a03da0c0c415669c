"""Recovers from a crash: enqueues lost phases, and reports ends of runs to the inbox."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from receiver.db.database import Database
from receiver.runs import store, transitions
from receiver.runs.model import Run, State
from receiver.webhook.episodes import RunEnded
from receiver.webhook.inbox import Inbox
from receiver.workflow.durable_queue import Phase, PhaseQueue

_log = structlog.get_logger()
# Longer than any phase runs or is delayed: after this time the phase counts as lost.
_LOST_AFTER_S = 180.0
_WITH_PHASE = (State.ACTING, State.VERIFYING, State.ROLLING_BACK, State.AWAITING_APPROVAL)


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Both methods are safe to repeat at any time. `clock` gives epoch seconds."""

    database: Database
    inbox: Inbox
    queue: PhaseQueue
    clock: Callable[[], float]

    def recover_lost_phases(self) -> None:
        """Enqueue the phase of each run that has one; the queue ignores phases that it has."""
        now = self.clock()
        with self.database.write() as connection:
            for run in store.in_states(connection, _WITH_PHASE):
                self._requeue_phase(connection, run, now)

    def end_episodes(self) -> None:
        """Report to the inbox again the ends of runs, and runs that no longer exist."""
        now = self.clock()
        run_ids = self.inbox.runs_without_end()
        # Reads the inbox first, so that an alert that leaves it in between is found among the runs.
        queued = self.inbox.still_queued(run_ids)
        with self.database.read() as connection:
            runs = store.by_ids(connection, run_ids)
        for run_id in run_ids:
            run = runs.get(run_id)
            if run is None and run_id not in queued:
                self.inbox.record_end(RunEnded(run_id, now, None))
            elif run is not None and run.state.ended:
                self.inbox.record_end(RunEnded(run_id, run.ended_at or now, run.next_act_at))

    def _requeue_phase(self, connection: Connection, run: Run, now: float) -> None:
        """Enqueue the run's phase under its id, or under a new id if it is overdue and so lost."""
        if run.phase is None:
            return
        phase = Phase.parse(run.phase)
        due = run.updated_at
        if run.state is State.AWAITING_APPROVAL:
            due = run.next_act_at or due
        if now - due > _LOST_AFTER_S:
            phase = Phase.first(run.id, phase.kind, now)
            transitions.move(connection, run, run.state, now, phase=phase.id)
            _log.warning("phase_lost", run=run.id, phase=phase.kind)
        self.queue.enqueue(connection, phase, delay_s=max(0.0, due - now))
