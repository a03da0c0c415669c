"""Messages to people, stored in the transaction that handles their audit record.

The sender marks a message only after it was sent, so a crash repeats a message and loses none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, bindparam, delete, insert, select, update
from ulid import ULID

from actions.canonical_json import canonical
from actions.driver import Statement
from receiver.db.tables import outbox
from receiver.notify.messages import Message, MessageKind

# An older message is out of date: it is not sent, and a sent one is deleted.
AGE_MAX_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A message on disk; `reached` are the recipients that have it."""

    id: str
    created_at: float
    kind: MessageKind
    same_as: str
    title: str
    text: str
    reached: frozenset[str]
    attempts: int


_IS_HELD = (outbox.c.sent_at.is_(None), outbox.c.held.is_(True))
_MESSAGES = (
    select(*(outbox.c[name] for name in StoredMessage.__dataclass_fields__))
    .order_by(outbox.c.id)
    .limit(bindparam("limit", type_=Integer))
)
_HELD = Statement(_MESSAGES.where(*_IS_HELD))
# Built once, as the sender asks once a second.
_DUE = Statement(
    _MESSAGES.where(
        outbox.c.sent_at.is_(None), outbox.c.held.is_(False), outbox.c.next_at <= bindparam("now")
    )
)
_ADD = Statement(insert(outbox))


def add(connection: Connection, message: Message, at: float) -> None:
    row = {
        "id": str(ULID()),
        "created_at": at,
        "kind": message.kind,
        "same_as": _key(message),
        "title": message.title,
        "text": message.text,
        "reached": [],
        "attempts": 0,
        "next_at": at,
        "held": False,
    }
    _ADD.count(connection, row)


def is_repeat(connection: Connection, message: Message, since: float) -> bool:
    """Whether an equal message was stored since `since`."""
    same = (outbox.c.same_as == _key(message), outbox.c.created_at >= since)
    return connection.execute(select(outbox.c.id).where(*same).limit(1)).first() is not None


def due(connection: Connection, now: float, limit: int) -> Sequence[StoredMessage]:
    """Messages to send, oldest first."""
    return _read(connection, _DUE, now=now, limit=limit)


def held(connection: Connection, limit: int) -> Sequence[StoredMessage]:
    """Messages that wait for the summary, oldest first."""
    return _read(connection, _HELD, limit=limit)


def oldest_held_at(connection: Connection) -> float | None:
    """When the first of these messages was stored, in epoch seconds."""
    query = select(outbox.c.created_at).where(*_IS_HELD).order_by(outbox.c.id).limit(1)
    return connection.execute(query).scalar_one_or_none()


def sent_keys(connection: Connection, since: float) -> set[str]:
    """`same_as` of the messages that were sent singly since `since`."""
    query = select(outbox.c.same_as).where(outbox.c.sent_at >= since, outbox.c.held.is_(False))
    return set(connection.scalars(query))


def hold(connection: Connection, message_ids: Collection[str]) -> None:
    connection.execute(update(outbox).where(outbox.c.id.in_(message_ids)).values(held=True))


def mark_sent(connection: Connection, message_ids: Collection[str], now: float) -> None:
    connection.execute(update(outbox).where(outbox.c.id.in_(message_ids)).values(sent_at=now))


def retry(
    connection: Connection, message: StoredMessage, reached: Collection[str], next_at: float
) -> None:
    values = {
        "reached": sorted(reached),
        "attempts": message.attempts + 1,
        "next_at": next_at,
    }
    connection.execute(update(outbox).where(outbox.c.id == message.id).values(values))


def prune(connection: Connection, now: float) -> int:
    """Delete old messages. Returns the number that were never sent."""
    old = outbox.c.created_at < now - AGE_MAX_S
    unsent = connection.execute(delete(outbox).where(old, outbox.c.sent_at.is_(None))).rowcount
    connection.execute(delete(outbox).where(old))
    return unsent


def _key(message: Message) -> str:
    return canonical(message.same_as)


def _read(connection: Connection, query: Statement, **values: float) -> Sequence[StoredMessage]:
    rows = query.rows(connection, values)
    return [
        StoredMessage(
            **{
                **row,
                "kind": MessageKind(row["kind"]),
                "reached": frozenset(row["reached"]),
            }
        )
        for row in rows
    ]
