"""Reads the audit as it grows, beside whatever writes it, and hands on what somebody waits for.

Whoever follows so holds up no run, and misses nothing that is on record. How far it came is on
record, too: each event is handed on once, by one process, and at most once over a crash.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, insert, select, update

from actions.tables import audit, audit_head
from receiver.db.database import Database
from receiver.db.tables import followers
from receiver.runtime.periodic import Beat

_log = structlog.get_logger()
_INTERVAL_S = 1.0
_HANDFUL = 50
# Without an event of its own for so long, a follower notes all the same how far it came.
_SKIPPED_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Record:
    """One of the audit."""

    seq: int
    at: float
    actor: str
    event: str
    run_id: str | None
    detail: Mapping[str, Any]


@dataclass
class Follower:
    """`take` gets each record of these `events`; `rest` is called whenever there is no more."""

    database: Database
    name: str
    events: Collection[str]
    take: Callable[[Record], None]
    rest: Callable[[], None] = lambda: None
    _beat: Beat = field(init=False)
    # What this process has looked at; on record is what was handed on.
    _looked: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._beat = Beat(self.name, _INTERVAL_S, self._follow, at_once=True)

    def start(self) -> None:
        self._beat.start()

    def stop(self) -> None:
        """End soon; what was not handed on is the next time."""
        self._beat.stop()

    def catch_up(self) -> None:
        """Hand on all that is new, then rest."""
        with self.database.write() as connection:
            noted = self._noted(connection)
        while found := self._look(noted):
            for record in found:
                if self._beat.stopping.is_set():
                    return
                mine = self._claim(record.seq)
                self._looked = record.seq
                if mine:
                    self.take(record)
        self.rest()

    def _follow(self) -> None:
        try:
            self.catch_up()
        except Exception as error:  # noqa: BLE001 whatever it was, the next event is waited for
            _log.error("follower_waits", name=self.name, error=type(error).__name__)

    def _noted(self, connection: Connection) -> int:
        """How far it came; a new one begins at the end, as what is past is no news."""
        query = select(followers.c.seq).where(followers.c.name == self.name)
        noted = connection.execute(query).scalar_one_or_none()
        if noted is None:
            noted = connection.execute(select(audit_head.c.seq)).scalar_one()
            connection.execute(insert(followers).values(name=self.name, seq=noted))
        return int(noted)

    def _look(self, noted: int) -> Sequence[Record]:
        since = max(noted, self._looked)
        with self.database.read() as connection:
            head = connection.execute(select(audit_head.c.seq)).scalar_one()
            new = (audit.c.seq > since, audit.c.seq <= head, audit.c.event.in_(self.events))
            query = select(audit).where(*new).order_by(audit.c.seq).limit(_HANDFUL)
            found = [_record(dict(row)) for row in connection.execute(query).mappings()]
        if not found:
            self._looked = head
            if head - noted > _SKIPPED_MOST:
                self._claim(head)
        return found

    def _claim(self, seq: int) -> bool:
        """Whether this is the one process that hands it on."""
        mine = (followers.c.name == self.name, followers.c.seq < seq)
        with self.database.write() as connection:
            moved = connection.execute(update(followers).where(*mine).values(seq=seq))
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
