"""The episodes of alerts, and the alerts that wait to become runs, as the inbox keeps them.

An episode is what one alert is to us from its first firing copy until its run has ended and it
was resolved, or not seen for longer than Alertmanager would stay silent; while it is open every
firing copy is a repeat, whatever its startsAt.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from pydantic_core import to_json
from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from receiver.webhook.payload import Alert

metadata = MetaData()
_T = TypeVar("_T")
_CHUNK = 500

# Alerts that wait to become runs; `id` is the run's id to be.
received = Table(
    "inbox_received",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("alert", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default="2"),
    Index("ix_inbox_received_priority_id", "priority", "id"),
)

episodes = Table(
    "inbox_episodes",
    metadata,
    Column("key", String(16), primary_key=True),
    Column("run_id", String(26), nullable=False, index=True),
    Column("starts_at", Double, nullable=False),
    Column("last_seen_at", Double, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("resolved_at", Double),
    # Set once the run has ended; from `reopens_at` on, a firing copy is then a new episode.
    Column("ended_at", Double),
    Column("reopens_at", Double),
)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An alert that has not become a run yet."""

    id: str
    received_at: float
    alert: Alert


@dataclass(frozen=True, kw_only=True)
class Episode:
    key: str
    run_id: str
    starts_at: float
    last_seen_at: float
    repeats: int = 0
    resolved_at: float | None = None
    ended_at: float | None = None
    reopens_at: float | None = None

    def closed(self, starts_at: float, now: float, gap_s: float) -> bool:
        """Whether a firing copy that arrives now, and began at `starts_at`, is a new episode."""
        return self.ended_at is not None and (
            self.resolved_at is not None
            # It was over and began again too quickly for Alertmanager to say so.
            or starts_at > self.ended_at
            or now - self.last_seen_at > gap_s
            or (self.reopens_at is not None and now >= self.reopens_at)
        )


def known(connection: Connection, keys: Sequence[str]) -> dict[str, Episode]:
    """Episodes by key; a key that was never seen is not there."""
    query = _among(connection.dialect.name, episodes, "key")
    rows = connection.exec_driver_sql(query, (_text(keys),)).mappings()
    return {row["key"]: Episode(**row) for row in rows}


def keep(connection: Connection, changed: Sequence[Episode], opened: Sequence[Waiting]) -> None:
    """Store new and changed episodes, and the alerts that opened some."""
    dialect, names = connection.dialect.name, episodes.c.keys()
    for some in _chunks(changed):
        rows = [[getattr(one, name) for name in names] for one in some]
        connection.exec_driver_sql(_upsert(dialect, episodes, "key"), (_text(rows),))
    for few in _chunks(opened):
        rows = [_row(one) for one in few]
        connection.exec_driver_sql(_insert(dialect, received), (_text(rows),))


# Each delivery pays for these: they are texts, made once, and however many rows there are, they are
# one parameter, as JSON. SQLite's driver lets go of the interpreter's lock at each step of a
# statement, and in a storm it is long until its turn comes again.
@cache
def _insert(dialect: str, table: Table) -> str:
    columns = list(table.c)
    if dialect == "sqlite":
        values = [f"json_extract(value, '$[{place}]')" for place in range(len(columns))]
        source = "json_each(?)"
    else:
        of: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's
        kinds = [one.type.compile(of) for one in columns]
        values = [f"CAST(value ->> {place} AS {kind})" for place, kind in enumerate(kinds)]
        source = "json_array_elements(CAST(%s AS json)) AS told(value)"
    names = ", ".join(one.name for one in columns)
    # Without a condition SQLite would take a conflict's `on` for that of a join.
    return f"INSERT INTO {table.name} ({names}) SELECT {', '.join(values)} FROM {source} WHERE true"  # noqa: S608 names of our own tables


@cache
def _upsert(dialect: str, table: Table, key: str) -> str:
    changes = ", ".join(f"{one.name} = excluded.{one.name}" for one in table.c if one.name != key)
    return f"{_insert(dialect, table)} ON CONFLICT ({key}) DO UPDATE SET {changes}"


@cache
def _among(dialect: str, table: Table, column: str) -> str:
    names = ", ".join(one.name for one in table.c)
    told = "SELECT value FROM json_each(?)"
    if dialect != "sqlite":
        told = "SELECT * FROM json_array_elements_text(CAST(%s AS json))"
    return f"SELECT {names} FROM {table.name} WHERE {column} IN ({told})"  # noqa: S608 as above


@dataclass(frozen=True)
class Over:
    """The end of a run; from `reopens_at` on, a firing copy of its alert is a new episode."""

    run_id: str
    at: float
    reopens_at: float | None


def end(connection: Connection, over: Sequence[Over]) -> None:
    if over:
        ended = update(episodes).where(episodes.c.run_id == bindparam("of"))
        ended = ended.values(ended_at=bindparam("at"), reopens_at=bindparam("reopens_at"))
        rows = [{"of": one.run_id, "at": one.at, "reopens_at": one.reopens_at} for one in over]
        connection.execute(ended, rows)


def of_runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, Episode]:
    """Episodes by the id of their run."""
    rows = connection.execute(select(episodes).where(episodes.c.run_id.in_(run_ids))).mappings()
    return {row["run_id"]: Episode(**row) for row in rows}


def resolved(connection: Connection, run_ids: Sequence[str]) -> frozenset[str]:
    """Those of the runs whose alerts are over."""
    among = _among(connection.dialect.name, episodes, "run_id")
    query = f"{among} AND resolved_at IS NOT NULL"
    return frozenset(row.run_id for row in connection.exec_driver_sql(query, (_text(run_ids),)))


def unended(connection: Connection, limit: int) -> Sequence[str]:
    """Runs whose end is not on record here, oldest first."""
    query = select(episodes.c.run_id).where(episodes.c.ended_at.is_(None))
    return connection.scalars(query.order_by(episodes.c.run_id).limit(limit)).all()


def waiting(connection: Connection, limit: int) -> Sequence[Waiting]:
    """Alerts that are not runs yet, the most severe first, then the oldest."""
    query = select(received).order_by(received.c.priority, received.c.id).limit(limit)
    rows = connection.execute(query)
    return [
        Waiting(id=row.id, received_at=row.received_at, alert=Alert(**json.loads(row.alert)))
        for row in rows
    ]


def waiting_among(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Those of the alerts that are not runs yet."""
    query = _among(connection.dialect.name, received, "id")
    return frozenset(row.id for row in connection.exec_driver_sql(query, (_text(ids),)))


def untaken(connection: Connection) -> int:
    """How many alerts are not runs yet."""
    return connection.execute(select(func.count()).select_from(received)).scalar_one()


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Alerts that are runs now."""
    for some in _chunks(ids):
        connection.execute(delete(received).where(received.c.id.in_(some)))


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """So that the text of a storm's alerts is never all in memory."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _text(told: object) -> str:
    return to_json(told).decode()


def _row(one: Waiting) -> list[object]:
    return [one.id, one.received_at, _text(vars(one.alert)), one.alert.priority]
