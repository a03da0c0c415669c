"""Records the end of runs, counts it, and reports it to the inbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from actions.audit import log
from actions.catalog.registry import CATALOG
from actions.execution import circuit_breakers, debts, rate_limits
from receiver.controls import arming
from receiver.db.database import Database
from receiver.metrics import NO_PLAYBOOK
from receiver.runs import store, transitions
from receiver.runs.model import Mark, Run, State
from receiver.runs.transitions import Transition
from receiver.webhook.episodes import RunEnded
from receiver.webhook.inbox import Inbox
from receiver.workflow.metrics import RunMetrics

_log = structlog.get_logger()
# By then the last attempt of the run itself is over.
_UNTIL_DUE_S = 30.0
_LEASES = frozenset(name for name, action in CATALOG.items() if action.released_at_end)


@dataclass(frozen=True, kw_only=True)
class RunCloser:
    """Records the end of runs. `clock` gives epoch seconds."""

    database: Database
    inbox: Inbox
    metrics: RunMetrics
    clock: Callable[[], float]
    # Lowers the mode of playbooks whose record no longer carries it; raises nothing.
    demote: Callable[[], None] = lambda: None

    def close(
        self, run: Run, state: State, *, command: log.Event | None = None, **changes: Any
    ) -> bool:
        """End the run; its alert may open a new one from `next_act_at`.

        `command` is the audit record of the person who ended it. Returns False if the run changed
        after it was read.
        """
        return bool(self.close_all([Transition(run, state, changes, command)]))

    def close_all(self, endings: Sequence[Transition]) -> int:
        """End runs in one transaction, except those that changed. Returns the number that ended."""
        if not endings:
            return 0
        now = self.clock()
        with self.database.write() as connection:
            ended = transitions.move_all(connection, endings, now)
            for transition in ended:
                _update_breaker(connection, transition, now)
            run_ids = [ending.run.id for ending in ended]
            debts.release(connection, run_ids, now, now + _UNTIL_DUE_S)
            stopped = [ending.run.id for ending in ended if _stops_rollback(ending)]
            debts.stop(connection, stopped, _LEASES, now)
        self.inbox.record_end(
            *(RunEnded(ending.run.id, now, ending.changes.get("next_act_at")) for ending in ended)
        )
        for transition in ended:
            self._count(transition, now)
        if any(transition.run.steps_begun for transition in ended):
            self.demote()
        return len(ended)

    def report_ends(self) -> None:
        """Report to the inbox the ends that a crash kept from it.

        A run that no longer exists counts as ended.
        """
        now = self.clock()
        run_ids = self.inbox.runs_without_end()
        # Reads the inbox first, so that an alert that leaves it in between is found among the runs.
        queued = self.inbox.still_queued(run_ids)
        with self.database.ask() as connection:
            runs = store.by_ids(connection, run_ids)
        for run_id in run_ids:
            run = runs.get(run_id)
            if run is None and run_id not in queued:
                self.inbox.record_end(RunEnded(run_id, now, None))
            elif run is not None and run.state.ended:
                self.inbox.record_end(RunEnded(run_id, run.ended_at or now, run.next_act_at))

    def count_feedback(self, run: Run, *, right: bool) -> None:
        mark = Mark.RIGHT if right else Mark.WRONG
        self.metrics.marks.labels(run.playbook or NO_PLAYBOOK, mark).inc()

    def _count(self, ending: Transition, now: float) -> None:
        run, state, changes = ending.run, ending.state, ending.changes
        playbook = changes.get("playbook") or run.playbook or NO_PLAYBOOK
        self.metrics.ended.labels(playbook, state).inc()
        if state is State.REFUSED:
            self.metrics.refusals.labels(changes["refusal"]).inc()
        if state is State.SUCCEEDED:
            recovery_s = max(0.0, now - run.starts_at)
            self.metrics.time_to_recovery.labels(playbook).observe(recovery_s)
        reasons = {key: changes[key] for key in ("refusal", "outcome") if changes.get(key)}
        write = _log.error if state is State.FAILED else _log.info
        write("run_ended", run=run.id, state=str(state), playbook=playbook, **reasons)


def _stops_rollback(ending: Transition) -> bool:
    """Whether a person ends the run during its rollback; a cancelled run rolls back, too."""
    rolling_back = ending.run.state is State.ROLLING_BACK
    return ending.command is not None and ending.state is State.CANCELLED and rolling_back


def _update_breaker(connection: Connection, ending: Transition, now: float) -> None:
    """Count the run for its playbook's circuit breaker, if it acted."""
    run, playbook = ending.run, ending.run.playbook
    if playbook is None or not run.steps_begun:
        return
    if not rate_limits.is_recorded(connection, run.id):
        circuit_breakers.end_trial(connection, run.place, playbook, run.id)
        return
    match ending.state:
        case State.SUCCEEDED:
            circuit_breakers.record_success(connection, run.place, playbook)
        case State.FAILED | State.ROLLED_BACK:
            if circuit_breakers.record_failure(connection, run.place, playbook, now):
                arming.disarm_on_failure(connection, run.place, playbook, transitions.ACTOR, now)
        case _:
            circuit_breakers.end_trial(connection, run.place, playbook, run.id)
