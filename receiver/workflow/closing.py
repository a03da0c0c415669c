"""How a run ends: on record, known to the inbox, counted and logged, in this one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from actions.execution import circuit_breakers, rate_limits
from receiver.controls import arming
from receiver.db.database import Database
from receiver.metrics import NO_PLAYBOOK
from receiver.runs import store
from receiver.runs.model import Mark, Run, State
from receiver.runs.store import Move
from receiver.webhook.episodes import Over
from receiver.webhook.inbox import Inbox
from receiver.workflow.metrics import RunMetrics

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Closing:
    database: Database
    inbox: Inbox
    metrics: RunMetrics
    clock: Callable[[], float]

    def close(self, run: Run, state: State, **changes: Any) -> bool:
        """End the run; a repeat opens anew from `next_act_at`. False where it has moved on."""
        return bool(self.close_all([Move(run, state, changes)]))

    def close_all(self, endings: Sequence[Move]) -> int:
        """End runs in one transaction; how many had not moved on."""
        now = self.clock()
        with self.database.write() as connection:
            moved = store.move_all(connection, endings, now)
            for one in moved:
                if one.run.playbook is not None and one.run.steps_begun:
                    _mind(connection, one.run.playbook, one.run.id, one.state, now)
        self.inbox.end(*(Over(one.run.id, now, one.changes.get("next_act_at")) for one in moved))
        for one in moved:
            self._tell(one, now)
        return len(moved)

    def marked(self, run: Run, *, right: bool) -> None:
        """Count what a person said of an ended run."""
        mark = Mark.RIGHT if right else Mark.WRONG
        self.metrics.marks.labels(run.playbook or NO_PLAYBOOK, mark).inc()

    def _tell(self, one: Move, now: float) -> None:
        run, state, changes = one.run, one.state, one.changes
        playbook = changes.get("playbook") or run.playbook or NO_PLAYBOOK
        self.metrics.ended.labels(playbook, state).inc()
        if state is State.REFUSED:
            self.metrics.refusals.labels(changes["refusal"]).inc()
        if state is State.SUCCEEDED:
            took = max(0.0, now - run.starts_at)
            self.metrics.time_to_recovery.labels(playbook).observe(took)
        said = {key: changes[key] for key in ("refusal", "outcome") if changes.get(key)}
        log = _log.error if state is State.FAILED else _log.info
        log("run_ended", run=run.id, state=str(state), playbook=playbook, **said)


def _mind(connection: Connection, playbook: str, run_id: str, state: State, now: float) -> None:
    """What the end of a run that acted says of its playbook."""
    if not rate_limits.is_recorded(connection, run_id):
        return
    match state:
        case State.SUCCEEDED:
            circuit_breakers.record_success(connection, playbook)
        case State.FAILED | State.ROLLED_BACK:
            if circuit_breakers.record_failure(connection, playbook, now):
                arming.trip(connection, playbook, store.ACTOR, now)
        case _:
            circuit_breakers.end_trial(connection, playbook, run_id)
