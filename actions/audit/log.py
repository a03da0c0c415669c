"""The audit log: who did what, in a chain of records that reveals every later change."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Connection,
    Engine,
    RowMapping,
    ScalarSelect,
    bindparam,
    func,
    select,
    update,
)

from actions.audit.chain import (
    BEFORE_FIRST,
    ChainFault,
    Checkpoint,
    Row,
    Verification,
    Verifier,
    hash_of,
)
from actions.canonical_json import canonical
from actions.driver import Statement, run
from actions.tables import audit, audit_head

__all__ = [
    "Event",
    "Origin",
    "Verification",
    "append",
    "coming_from",
    "hash_at",
    "last_checkpoint",
    "read_head",
    "records",
    "still_read",
    "sync",
    "verify",
]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of a person's call: their `name` in the audit, their role and address."""

    name: str
    role: str
    address: str
    request_id: str


_ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Add the origin to every audit record of this person that the block writes.

    The entry point of a call sets it once, so that no write can omit it.
    """
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Who did what. `detail` must be JSON without secrets."""

    actor: str
    event: str
    run_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


_LOCK_HEAD = select(audit_head.c.seq, audit_head.c.hash).with_for_update()
# Both in one round trip, as an act appends a dozen times.
_ADD_POSTGRESQL = """
WITH moved AS (
  UPDATE audit_head SET seq = %(to_seq)s, hash = %(to_hash)s
  WHERE seq = %(from_seq)s AND hash = %(from_hash)s RETURNING seq
)
INSERT INTO audit (seq, at, actor, event, run_id, detail, previous, hash)
SELECT added.* FROM moved, json_to_recordset(%(rows)s) AS added (
  seq bigint, at float8, actor text, event text, run_id text, detail text, previous text, hash text
)
"""
_MOVE_SQLITE = """
UPDATE audit_head SET seq = :to_seq, hash = :to_hash WHERE seq = :from_seq AND hash = :from_hash
"""
_ADD_SQLITE = """
INSERT INTO audit (seq, at, actor, event, run_id, detail, previous, hash)
VALUES (:seq, :at, :actor, :event, :run_id, :detail, :previous, :hash)
"""
# The head as this process last knew it, by database; another one may have moved it since.
_HEADS: WeakKeyDictionary[Engine, Checkpoint] = WeakKeyDictionary()


def append(connection: Connection, now: float, *events: Event) -> None:
    """Add records inside the caller's transaction, so that no change lands without its record."""
    if not events:
        return
    known = _HEADS.get(connection.engine)
    if known is None or not _append_to(connection, known, now, events):
        row = connection.execute(_LOCK_HEAD).one()
        if not _append_to(connection, Checkpoint(row.seq, row.hash), now, events):
            raise LookupError("the head of the audit moved while it was locked")


def _append_to(
    connection: Connection, head: Checkpoint, now: float, events: Sequence[Event]
) -> bool:
    """Add the records after this head. Returns False, and adds none, if it is not the head."""
    seq, previous, rows = head.seq, head.hash, []
    for event in events:
        seq += 1
        row = {
            "seq": seq,
            # A float, as the database returns it: an int would be hashed without its ".0".
            "at": float(now),
            "actor": event.actor,
            "event": event.event,
            "run_id": event.run_id,
            "detail": canonical(_with_origin(event)),
            "previous": previous,
        }
        previous = hash_of(row)
        rows.append(row | {"hash": previous})
    if not _store(connection, head, Checkpoint(seq, previous), rows):
        return False
    # After a rollback the next append finds that this is not the head.
    _HEADS[connection.engine] = Checkpoint(seq, previous)
    return True


def _store(connection: Connection, head: Checkpoint, to: Checkpoint, rows: Sequence[Row]) -> bool:
    moved = {"from_seq": head.seq, "from_hash": head.hash, "to_seq": to.seq, "to_hash": to.hash}
    if connection.dialect.name == "postgresql":
        added = run(connection, _ADD_POSTGRESQL, {**moved, "rows": json.dumps(rows)})
        return bool(added.rowcount)
    if run(connection, _MOVE_SQLITE, moved).rowcount != 1:
        return False
    for row in rows:
        run(connection, _ADD_SQLITE, row)
    return True


def sync(connection: Connection) -> None:
    """Put all records so far on disk, by the commit of the caller's synced transaction.

    A commit that changes nothing waits for no disk, and SQLite compares what it writes.
    """
    for change in (1, -1):
        connection.execute(update(audit_head).values(seq=audit_head.c.seq + change))


def verify(connection: Connection, heads: Mapping[int, str] | None = None) -> Verification:
    """Verify the whole chain, oldest record first, in constant memory.

    `heads` are the hashes of records by number, from signed heads.
    """
    head = connection.execute(select(audit_head)).one_or_none()
    if head is None:
        count = connection.execute(select(func.count()).select_from(audit)).scalar_one()
        return Verification(
            ok=False, records=count, first_bad=count + 1, fault=ChainFault.HEAD_LOST
        )
    verifier = Verifier(
        after=_before(connection), end=Checkpoint(head.seq, head.hash), heads=heads or {}
    )
    return verifier.verify(rows(connection))


def last_checkpoint(connection: Connection, earlier: Checkpoint | None) -> Checkpoint | None:
    """The chain's last record. None if the `earlier` last record was removed or changed."""
    head = connection.execute(select(audit_head)).one()
    if earlier is not None and earlier.seq >= head.pruned:
        query = select(audit.c.hash).where(audit.c.seq == earlier.seq)
        digest = connection.execute(query).scalar_one_or_none()
        if earlier.seq == head.pruned:
            digest = _before(connection).hash
        if digest != earlier.hash:
            return None
    return Checkpoint(head.seq, head.hash)


def hash_at(seq: str) -> ScalarSelect[str]:
    """The hash of the record with the number of this parameter."""
    return select(audit.c.hash).where(audit.c.seq == bindparam(seq)).scalar_subquery()


def still_read(read_to: Checkpoint, head: int, known: str | None) -> Checkpoint:
    """From where a reader reads on that has read so far; `known` is the hash of that record now.

    A crash of PostgreSQL undoes records that waited for no disk, but not this process. Others get
    their numbers, so it reads again from the beginning.
    """
    undone = read_to.seq > head or known not in {None, read_to.hash}
    return BEFORE_FIRST if undone else read_to


_HEAD = Statement(select(audit_head.c.seq, audit_head.c.hash, hash_at("read_to").label("known")))


def read_head(connection: Connection, read_to: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    """From where to read on, as `still_read`, and the last record."""
    row = _HEAD.rows(connection, {"read_to": read_to.seq})[0]
    return still_read(read_to, row["seq"], row["known"]), Checkpoint(row["seq"], row["hash"])


def rows(connection: Connection, after: int = 0) -> Iterator[Row]:
    """Every record above this number, oldest first."""
    query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq)
    for row in connection.execute(query.execution_options(yield_per=1000)).mappings():
        yield dict(row)


def records(
    connection: Connection,
    *,
    since: float | None = None,
    run_id: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> Sequence[RowMapping]:
    """Newest first, below sequence number `before`."""
    query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if since is not None:
        query = query.where(audit.c.at >= since)
    if run_id is not None:
        query = query.where(audit.c.run_id == run_id)
    if before is not None:
        query = query.where(audit.c.seq < before)
    return connection.execute(query).mappings().all()


def _with_origin(event: Event) -> Mapping[str, Any]:
    """The detail, with the caller's origin if the caller is the actor of the event."""
    origin = _ORIGIN.get()
    if origin is None or origin.name != event.actor:
        return event.detail
    caller = {"role": origin.role, "address": origin.address, "request_id": origin.request_id}
    return {**event.detail, "origin": caller}


def _before(connection: Connection) -> Checkpoint:
    """The checkpoint before the first record: zero, unless older records were pruned."""
    pruned = connection.execute(select(audit_head.c.pruned)).scalar_one()
    if pruned == 0:
        return BEFORE_FIRST
    first = select(audit.c.previous).where(audit.c.seq == pruned + 1)
    return Checkpoint(pruned, connection.execute(first).scalar_one_or_none() or "")
