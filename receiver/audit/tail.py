"""Follows the audit log and passes on new records of chosen events.

A tail blocks no run and misses no record. Its position moves in the transaction that handles the
record, so one process stores the result once, even if it crashes.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import log
from actions.audit.chain import BEFORE_FIRST, Checkpoint
from actions.driver import Statement
from actions.tables import audit, audit_head
from receiver.db.database import Database
from receiver.db.tables import followers
from receiver.runtime.periodic import Periodic

_logger = structlog.get_logger()
_INTERVAL_S = 1.0
_BATCH = 50
# After this many records a tail stores its position, even without a matching event.
_SKIPPED_MAX = 10_000
_POSITION = select(followers.c.seq).where(followers.c.name == bindparam("name"))
_STORED = Statement(_POSITION)
# The last record, the position, and the record that was the last one before; built once, as each
# tail asks once a second.
_ENDS = Statement(
    select(
        audit_head.c.seq,
        audit_head.c.hash,
        _POSITION.scalar_subquery().label("position"),
        log.hash_at("read_to").label("known"),
    )
)
_NEW = Statement(
    select(audit)
    .where(
        audit.c.seq > bindparam("since"),
        audit.c.seq <= bindparam("head"),
        audit.c.event.in_(bindparam("events", expanding=True)),
    )
    .order_by(audit.c.seq)
    .limit(_BATCH)
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """An audit record."""

    seq: int
    at: float
    actor: str
    event: str
    run_id: str | None
    detail: Mapping[str, Any]


@dataclass
class AuditTail:
    """Calls `on_record` with each record of `events`, and `on_idle` after each batch of records.

    `on_record` gets the connection of the transaction that moves the position.
    """

    database: Database
    name: str
    events: Collection[str]
    on_record: Callable[[Connection, Record], None]
    on_idle: Callable[[], None] = lambda: None
    _periodic: Periodic = field(init=False)
    # The last record when there was nothing to pass on; the stored position is the last passed on.
    _read_to: Checkpoint = field(default=BEFORE_FIRST, init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic(self.name, _INTERVAL_S, self.run_once, at_once=True)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        """Stop after the current record; the next start passes on the rest."""
        self._periodic.stop()

    def catch_up(self) -> None:
        """Pass on all new records."""
        records: Sequence[Record] | None = None
        while records is None or records:
            records = self._read()
            if self._periodic.stopping.is_set():
                return
            self._handle_all(records)
            self.on_idle()

    def _handle_all(self, records: Sequence[Record]) -> None:
        """In one transaction, as each takes the lock for which acts wait, and a sync."""
        if not records:
            return
        try:
            with self.database.write() as connection:
                # Writers wait for each other: nobody moves the position meanwhile.
                position = self._position(connection) or 0
                new = [record for record in records if record.seq > position]
                for record in new:
                    self.on_record(connection, record)
                if new:
                    self._claim(connection, new[-1].seq)
        except SQLAlchemyError:
            raise
        except Exception:  # noqa: BLE001 each by itself, so that one alone is skipped
            for record in records:
                self._handle(record)

    def _handle(self, record: Record) -> None:
        try:
            with self.database.write() as connection:
                if self._claim(connection, record.seq):
                    self.on_record(connection, record)
        except SQLAlchemyError:
            raise
        except Exception:
            # A record that cannot be handled must not block the records after it.
            _logger.exception("audit_record_skipped", reader=self.name, seq=record.seq)
            with self.database.write() as connection:
                self._claim(connection, record.seq)

    def run_once(self) -> None:
        """Catch up; a failure is logged, and the next interval tries again."""
        try:
            self.catch_up()
        except Exception:
            _logger.exception("audit_read_failed", reader=self.name)

    def _read(self) -> Sequence[Record]:
        """The next records. A new tail starts at the end: it does not pass on past records."""
        with self.database.ask() as connection:
            ends = _ENDS.rows(connection, {"name": self.name, "read_to": self._read_to.seq})[0]
            head, position = ends["seq"], ends["position"]
            read_to = log.still_read(self._read_to, head, ends["known"])
            since = max(head if position is None else position, read_to.seq)
            new = {"since": since, "head": head, "events": [*self.events]}
            # The chain's head tells that there is nothing. Records are committed in their order.
            rows = _NEW.rows(connection, new) if head > since else ()
        records = [_record(row) for row in rows]
        if not records:
            self._read_to = Checkpoint(head, ends["hash"])
            if position is None:
                self._begin_at(head)
            elif head - position > _SKIPPED_MAX:
                with self.database.write() as connection:
                    self._claim(connection, head)
        return records

    def _begin_at(self, head: int) -> None:
        with self.database.write() as connection:
            if self._position(connection) is None:
                connection.execute(insert(followers).values(name=self.name, seq=head))

    def _position(self, connection: Connection) -> int | None:
        """The stored position: the last record that any process passed on."""
        stored = _STORED.row(connection, {"name": self.name})
        return None if stored is None else int(stored["seq"])

    def _claim(self, connection: Connection, seq: int) -> bool:
        """Move the position to this record. Returns False where another process did."""
        behind = (followers.c.name == self.name, followers.c.seq < seq)
        moved = connection.execute(update(followers).where(*behind).values(seq=seq))
        return moved.rowcount == 1


def _record(row: Mapping[str, Any]) -> Record:
    return Record(
        seq=row["seq"],
        at=row["at"],
        actor=row["actor"],
        event=row["event"],
        run_id=row["run_id"],
        detail=json.loads(row["detail"]),
    )
