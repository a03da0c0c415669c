"""Deletes old records without references, so that the size of the database is bounded.

Records that guards read stay at any age: runs that have not ended, open episodes and their runs,
held claims, cooldowns, circuit breakers. So do runs that owe something, and the audit, which
`actions.audit.prune` prunes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog
from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_

from actions.assurance.cloudtrail import EVENTS_KEPT_S
from actions.execution.rate_limits import DAY_S
from actions.tables import attempts, claims, debts, intents
from receiver.db.database import Database
from receiver.db.tables import comparisons, overrides, run_search, runs
from receiver.metrics import start_at_zero
from receiver.runs.metrics import RetentionMetrics
from receiver.runs.model import IN_FLIGHT
from receiver.runtime.periodic import Periodic
from receiver.webhook.episodes import episodes
from receiver.webhook.inbox import Inbox

_logger = structlog.get_logger()
_BATCH = 200
_EVERY_S, _STOP_S = 60.0, 15.0
# Pause between two batches, for other writers.
_PAUSE_S = 0.05
# Guards need the runs of the last ten minutes, to recognise storms, echoes and repeats.
_GUARDS_READ_S = 600.0


class RecordKind(StrEnum):
    EPISODES = "episodes"
    RUNS = "runs"
    INTENTS = "intents"
    ATTEMPTS = "attempts"
    CLAIMS = "claims"
    OVERRIDES = "overrides"
    WORKFLOWS = "workflows"


@dataclass(kw_only=True)
class Retention:
    """A thread that calls `run_once` each minute, which deletes records older than `keep_s`.

    `delete_phases` is `DurableQueue.delete_finished`.
    """

    keep_s: float
    database: Database
    inbox: Inbox
    delete_phases: Callable[[float, int], int]
    metrics: RetentionMetrics
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("retention", _EVERY_S, self.run_once, stop_wait_s=_STOP_S)
        start_at_zero(self.metrics.removed, RecordKind)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Delete old records in batches. A failure is counted, and the next call tries again."""
        try:
            for kind in RecordKind:
                self._remove(kind, self.clock())
        except Exception:
            # The thread must continue, to try again.
            self.metrics.failures.inc()
            _logger.exception("retention_failed")

    def _remove(self, kind: RecordKind, now: float) -> None:
        removed = skipped = 0
        while not self._periodic.stopping.is_set():
            read, deleted = self._delete_batch(kind, now, skipped)
            removed, skipped = removed + deleted, skipped + read - deleted
            self.metrics.removed.labels(kind).inc(deleted)
            if read < _BATCH:
                break
            self.inbox.yield_to_deliveries()
            self._periodic.stopping.wait(_PAUSE_S)
        if removed:
            _logger.info("retention_removed", kind=str(kind), count=removed)

    def _delete_batch(self, kind: RecordKind, now: float, skipped: int) -> tuple[int, int]:
        """Delete one batch after the `skipped` records. Returns the numbers read and deleted."""
        old = now - max(self.keep_s, _GUARDS_READ_S)
        match kind:
            case RecordKind.EPISODES:
                deleted = self._episodes(min(old, now - self.inbox.gap_s))
            case RecordKind.RUNS:
                return self._runs(old, skipped)
            case RecordKind.INTENTS:
                # Intents explain CloudTrail's events, which it keeps this long.
                in_trail = now - max(self.keep_s, EVENTS_KEPT_S)
                deleted = self._without_run(intents, intents.c.started_at < in_trail)
            case RecordKind.ATTEMPTS:
                # The longest rate limit counts the attempts of a day.
                counted = now - max(self.keep_s, DAY_S)
                deleted = self._without_run(attempts, attempts.c.at < counted)
            case RecordKind.CLAIMS:
                released = (claims.c.held.is_(False), claims.c.cooldown_until < old)
                deleted = _delete(self.database, claims, *released, claims.c.claimed_at < old)
            case RecordKind.OVERRIDES:
                deleted = _delete(self.database, overrides, overrides.c.ends_at < old)
            case RecordKind.WORKFLOWS:
                # No code reads a finished workflow.
                deleted = self.delete_phases(now - min(self.keep_s, DAY_S), _BATCH)
        return deleted, deleted

    def _episodes(self, old: float) -> int:
        """Episodes whose run has ended, without a later copy of their alert."""
        resolved = func.coalesce(episodes.c.resolved_at, 0.0) < old
        quiet = (episodes.c.ended_at < old, episodes.c.last_seen_at < old, resolved)
        return _delete(self.inbox.database, episodes, *quiet)

    def _runs(self, old: float, skipped: int) -> tuple[int, int]:
        """Ended runs without an episode: an alert that still fires keeps its explanation."""
        # A run with an end may still be rolled back.
        owing = select(debts.c.run_id).where(debts.c.run_id == runs.c.id)
        ended = (runs.c.ended_at < old, runs.c.state.not_in(IN_FLIGHT), ~owing.exists())
        query = select(runs.c.id).where(runs.c.received_at < old, *ended)
        query = query.order_by(runs.c.received_at, runs.c.id).limit(_BATCH).offset(skipped)
        with self.database.read() as connection:
            run_ids = connection.scalars(query).all()
        with_episode = self.inbox.episodes_of(run_ids)
        unreferenced = [run_id for run_id in run_ids if run_id not in with_episode]
        if not unreferenced:
            return len(run_ids), 0
        deleted = _delete(self.database, runs, runs.c.id.in_(unreferenced), *ended)
        gone = ~select(runs.c.id).where(runs.c.id == run_search.c.run_id).exists()
        _delete(self.database, run_search, run_search.c.run_id.in_(unreferenced), gone)
        compared = ~select(runs.c.id).where(runs.c.id == comparisons.c.run_id).exists()
        _delete(self.database, comparisons, comparisons.c.run_id.in_(unreferenced), compared)
        return len(run_ids), deleted

    def _without_run(self, table: Table, old: ColumnElement[bool]) -> int:
        run = select(runs.c.id).where(runs.c.id == table.c.run_id)
        return _delete(self.database, table, old, ~run.exists())


def _delete(database: Database, table: Table, *where: ColumnElement[bool]) -> int:
    """Delete one batch of the rows. Returns their number."""
    key = table.primary_key.columns.values()
    batch = select(*key).where(*where).limit(_BATCH)
    with database.write() as connection:
        return connection.execute(delete(table).where(tuple_(*key).in_(batch))).rowcount
