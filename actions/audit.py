"""The audit chain: each record covers the one before, so that no record changes unseen."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from actions.tables import audit, audit_head

GENESIS = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Origin:
    """From where a person's call comes: `name` as the audit names them, their role and address."""

    name: str
    role: str
    address: str
    request_id: str


_ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Have what this person does meanwhile on record with its origin.

    Set once where a call comes in, so that no write on its way can forget to say it.
    """
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Who did what, and all that explains it. `detail` must be JSON; secrets have no place here."""

    actor: str
    event: str
    run_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """`first_bad` is the sequence number of the first record that does not hold."""

    ok: bool
    records: int
    first_bad: int | None


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII only (no NUL, no surrogate)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def append(connection: Connection, now: float, *events: Event) -> None:
    """Add records inside the caller's transaction, so that no change lands without its record."""
    if not events:
        return
    head = connection.execute(select(audit_head).with_for_update()).one()
    seq, previous, rows = head.seq, head.hash, []
    for event in events:
        seq += 1
        row = {
            "seq": seq,
            # As the database gives it back: a whole number would be hashed without its ".0".
            "at": float(now),
            "actor": event.actor,
            "event": event.event,
            "run_id": event.run_id,
            "detail": canonical(_told(event)),
            "previous": previous,
        }
        previous = _hash(row)
        rows.append(row | {"hash": previous})
    connection.execute(insert(audit), rows)
    connection.execute(update(audit_head).values(seq=seq, hash=previous))


def verify(connection: Connection) -> Verification:
    """Walk the whole chain, oldest first, in constant memory."""
    head = connection.execute(select(audit_head)).one_or_none()
    expected, previous = 0, GENESIS
    for row in _rows(connection):
        expected += 1
        intact = row["seq"] == expected and row["previous"] == previous
        if not intact or _hash(row) != row["hash"]:
            return Verification(ok=False, records=expected, first_bad=expected)
        previous = row["hash"]
    if head is None or (head.seq, head.hash) != (expected, previous):
        return Verification(ok=False, records=expected, first_bad=expected + 1)
    return Verification(ok=True, records=expected, first_bad=None)


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


def _told(event: Event) -> Mapping[str, Any]:
    """The detail, with the origin where the actor is who called: nothing else is theirs."""
    origin = _ORIGIN.get()
    if origin is None or origin.name != event.actor:
        return event.detail
    said = {"role": origin.role, "address": origin.address, "request_id": origin.request_id}
    return {**event.detail, "origin": said}


def _rows(connection: Connection) -> Iterator[RowMapping]:
    query = select(audit).order_by(audit.c.seq).execution_options(yield_per=1000)
    yield from connection.execute(query).mappings()


def _hash(row: Mapping[str, Any] | RowMapping) -> str:
    covered = {key: value for key, value in row.items() if key != "hash"}
    return hashlib.sha256(canonical(covered).encode()).hexdigest()
