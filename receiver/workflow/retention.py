"""Lets go of records that nothing rests on any more, so that the database does not grow for ever.

What still guards something stays, however old: runs that have not ended, episodes that are open
and their runs, holds, cooldowns, breakers. So does the audit, which `actions.audit.prune` prunes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog
from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_

from actions.assurance.cloudtrail import EVENTS_KEPT_S
from actions.execution.rate_limits import DAY_S
from actions.tables import attempts, claims, intents
from receiver.db.database import Database
from receiver.db.tables import overrides, runs
from receiver.metrics import start_at_zero
from receiver.runs.model import IN_FLIGHT
from receiver.runtime.periodic import Periodic
from receiver.webhook.episodes import episodes
from receiver.webhook.inbox import Inbox
from receiver.workflow.durable_queue import Engine
from receiver.workflow.metrics import RetentionMetrics

_log = structlog.get_logger()
_BATCH = 200
_EVERY_S, _STOP_S = 60.0, 15.0
# Between two batches others have their turn.
_PAUSE_S = 0.05
# Storms, echoes and repeats are told by the runs of the last minutes.
_LOOKED_BACK_S = 600.0


class Kept(StrEnum):
    """What is kept for a time."""

    EPISODES = "episodes"
    RUNS = "runs"
    INTENTS = "intents"
    ATTEMPTS = "attempts"
    CLAIMS = "claims"
    OVERRIDES = "overrides"
    WORKFLOWS = "workflows"


@dataclass(kw_only=True)
class Retention:
    """`beat` is what the thread does each minute; what is older than `keep_s` goes."""

    keep_s: float
    database: Database
    inbox: Inbox
    engine: Engine
    metrics: RetentionMetrics
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("retention", _EVERY_S, self.run_once, stop_wait_s=_STOP_S)
        start_at_zero(self.metrics.removed, Kept)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Remove what is old, batch by batch; a failure is counted, and tried again by the next."""
        try:
            for kind in Kept:
                self._remove(kind, self.clock())
        except Exception as error:  # noqa: BLE001 whatever it was, the next one is waited for
            self.metrics.failures.inc()
            _log.error("retention_failed", error=type(error).__name__)

    def _remove(self, kind: Kept, now: float) -> None:
        removed = passed = 0
        while not self._periodic.stopping.is_set():
            seen, gone = self._some(kind, now, passed)
            removed, passed = removed + gone, passed + seen - gone
            self.metrics.removed.labels(kind).inc(gone)
            if seen < _BATCH:
                break
            self.inbox.let_pass()
            self._periodic.stopping.wait(_PAUSE_S)
        if removed:
            _log.info("retention_removed", kind=str(kind), count=removed)

    def _some(self, kind: Kept, now: float, passed: int) -> tuple[int, int]:
        """One batch beyond those `passed` over: how many were looked at, and how many went."""
        old = now - max(self.keep_s, _LOOKED_BACK_S)
        match kind:
            case Kept.EPISODES:
                gone = self._episodes(min(old, now - self.inbox.gap_s))
            case Kept.RUNS:
                return self._runs(old, passed)
            case Kept.INTENTS:
                # As long as CloudTrail can ask for what they explain.
                known = now - max(self.keep_s, EVENTS_KEPT_S)
                gone = self._of_gone_runs(intents, intents.c.started_at < known)
            case Kept.ATTEMPTS:
                counted = now - max(self.keep_s, DAY_S)
                gone = self._of_gone_runs(attempts, attempts.c.at < counted)
            case Kept.CLAIMS:
                over = (claims.c.held.is_(False), claims.c.cooldown_until < old)
                gone = _delete(self.database, claims, *over, claims.c.claimed_at < old)
            case Kept.OVERRIDES:
                gone = _delete(self.database, overrides, overrides.c.ends_at < old)
            case Kept.WORKFLOWS:
                # The engine's own rows tell nobody anything once they are done.
                gone = self.engine.forget(now - min(self.keep_s, DAY_S), _BATCH)
        return gone, gone

    def _episodes(self, old: float) -> int:
        """Those whose run has ended and that no copy was attached to since."""
        quiet = func.coalesce(episodes.c.resolved_at, 0.0) < old
        past = (episodes.c.ended_at < old, episodes.c.last_seen_at < old, quiet)
        return _delete(self.inbox.database, episodes, *past)

    def _runs(self, old: float, passed: int) -> tuple[int, int]:
        """Those that ended and whose episode is over: an alert that still fires is explained."""
        # One that is being rolled back has ended before.
        past = (runs.c.ended_at < old, runs.c.state.not_in(IN_FLIGHT))
        query = select(runs.c.id).where(runs.c.received_at < old, *past)
        query = query.order_by(runs.c.received_at, runs.c.id).limit(_BATCH).offset(passed)
        with self.database.read() as connection:
            found = connection.scalars(query).all()
        still = self.inbox.of_runs(found)
        going = [one for one in found if one not in still]
        gone = _delete(self.database, runs, runs.c.id.in_(going), *past) if going else 0
        return len(found), gone

    def _of_gone_runs(self, table: Table, old: ColumnElement[bool]) -> int:
        run = select(runs.c.id).where(runs.c.id == table.c.run_id)
        return _delete(self.database, table, old, ~run.exists())


def _delete(database: Database, table: Table, *which: ColumnElement[bool]) -> int:
    """One batch of the rows."""
    key = table.primary_key.columns.values()
    some = select(*key).where(*which).limit(_BATCH)
    with database.write() as connection:
        return connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
