"""The episodes of alerts, and the alerts that wait to become runs, as the inbox keeps them.

An episode is what one alert is to us from its first firing copy until its run has ended and it
was resolved, or not seen for longer than Alertmanager would stay silent; while it is open every
firing copy is a repeat, whatever its startsAt.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Double,
    Executable,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from receiver.alerts import Alert

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
    rows = connection.execute(query, {"told": _text(keys)}).mappings()
    return {row["key"]: Episode(**row) for row in rows}


def keep(connection: Connection, changed: Sequence[Episode], opened: Sequence[Waiting]) -> None:
    """Store new and changed episodes, and the alerts that opened some."""
    dialect, names = connection.dialect.name, episodes.c.keys()
    for some in _chunks(changed):
        rows = [[getattr(one, name) for name in names] for one in some]
        connection.execute(_keeping(dialect), {"told": _text(rows)})
    for few in _chunks(opened):
        rows = [_row(one) for one in few]
        connection.execute(_opening(dialect), {"told": _text(rows)})


# Each delivery pays for these: the statements are made once, and however many rows there are, they
# are one parameter. SQLite's driver lets go of the interpreter's lock at each step of a statement,
# and in a storm it is long until its turn comes again.
@cache
def _keeping(dialect: str) -> Executable:
    inserting = (postgresql if dialect == "postgresql" else sqlite).insert(episodes)
    # Without a condition SQLite takes the conflict for one of a join.
    told = _told(dialect, *(column.type for column in episodes.c)).where(true())
    made = inserting.from_select(episodes.c.keys(), told)
    values = {c.name: made.excluded[c.name] for c in episodes.c if c.name != "key"}
    upserting: Executable = made.on_conflict_do_update(index_elements=["key"], set_=values)
    return upserting


@cache
def _opening(dialect: str) -> Executable:
    told = _told(dialect, *(column.type for column in received.c))
    return insert(received).from_select(received.c.keys(), told)


@cache
def _among(dialect: str, table: Table, column: str) -> Executable:
    return select(table).where(table.c[column].in_(_told(dialect, String)))


def _told(dialect: str, *types: Any) -> Select[Any]:  # noqa: ANN401 SQLAlchemy's types
    """Rows of such columns, or values of one type, out of the parameter `told`, a JSON text."""
    told = bindparam("told", type_=Text)
    found: list[ColumnElement[Any]]
    if dialect == "sqlite":
        each = func.json_each(told).table_valued("value").c.value
        found = [func.json_extract(each, f"$[{place}]") for place in range(len(types))]
        if len(types) == 1:
            found = [each]
    elif len(types) == 1:
        found = [func.json_array_elements_text(cast(told, JSON)).column_valued("value")]
    else:
        row = func.json_array_elements(cast(told, JSON)).column_valued("value")
        found = [row.op("->>")(place) for place in range(len(types))]
    return select(*(cast(one, kind) for one, kind in zip(found, types, strict=True)))


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
    return frozenset(row.id for row in connection.execute(query, {"told": _text(ids)}))


def untaken(connection: Connection) -> int:
    """How many alerts are not runs yet."""
    return connection.execute(select(func.count()).select_from(received)).scalar_one()


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Alerts that are runs now."""
    told = _told(connection.dialect.name, String)
    connection.execute(delete(received).where(received.c.id.in_(told)), {"told": _text(ids)})


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """So that the text of a storm's alerts is never all in memory."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _text(told: object) -> str:
    return to_json(told).decode()


def _row(one: Waiting) -> list[object]:
    return [one.id, one.received_at, _text(vars(one.alert)), one.alert.priority]
