"""How a run ends: on record, known to the inbox, counted and logged, in this one place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from receiver import runs
from receiver.database import Database
from receiver.inbox import Inbox
from receiver.metrics import NO_PLAYBOOK, Metrics
from receiver.runs import Run, State

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Closing:
    database: Database
    inbox: Inbox
    metrics: Metrics
    clock: Callable[[], float]

    def close(self, run: Run, state: State, **changes: Any) -> bool:  # noqa: ANN401 columns of runs
        """End the run, unless it has moved on meanwhile; a repeat opens anew from `next_act_at`."""
        with self.database.write() as connection:
            if not runs.move(connection, run, state, self.clock(), **changes):
                return False
        self.inbox.end(run.id, reopens_at=changes.get("next_act_at"))
        playbook = changes.get("playbook") or run.playbook or NO_PLAYBOOK
        self.metrics.runs.labels(playbook, state).inc()
        if state is State.REFUSED:
            self.metrics.refusals.labels(changes["refusal"]).inc()
        said = {key: changes[key] for key in ("refusal", "outcome") if changes.get(key)}
        log = _log.error if state is State.FAILED else _log.info
        log("run_ended", run=run.id, state=str(state), playbook=playbook, **said)
        return True
