"""The tables of the inbox: episodes of alerts, and alerts that have no run yet.

An episode opens with the first firing copy of an alert. It closes once its run has ended and the
alert was resolved, or was silent for longer than Alertmanager's repeats allow. While it is open,
each firing copy is a repeat, with any startsAt.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic_core import from_json, to_json
from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Row,
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

from actions.driver import run
from actions.refusal import RETRY_AFTER_S
from receiver.webhook.payload import Alert

metadata = MetaData()
_T = TypeVar("_T")
_CHUNK = 500
_FEW, _HASH = 50, re.compile("[0-9a-f]+")

# Alerts without a run yet; `id` will be the id of their run.
received = Table(
    "inbox_received",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("received_at", Double, nullable=False),
    Column("alert", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default="2"),
    Column("not_before", Double),
    Index("ix_inbox_received_priority_id", "priority", "id"),
)

episodes = Table(
    "inbox_episodes",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("run_id", String(26), nullable=False, index=True),
    Column("starts_at", Double, nullable=False),
    Column("last_seen_at", Double, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("resolved_at", Double),
    # Set when the run ends; from `reopens_at` on, a firing copy opens a new episode.
    Column("ended_at", Double),
    Column("reopens_at", Double),
)


@dataclass(frozen=True, kw_only=True)
class QueuedAlert:
    """An alert that has no run yet; `id` will be the id of its run.

    It is decided at once, or from `not_before` on.
    """

    id: str
    received_at: float
    alert: Alert
    not_before: float | None = None

    @property
    def starts_at(self) -> float:
        """The time the alert started; without a usable one, the time it was first seen."""
        return self.received_at if self.alert.starts_at is None else self.alert.starts_at


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
        """Whether a firing copy that arrives `now`, begun at `starts_at`, opens a new episode."""
        return self.ended_at is not None and (
            self._began_anew(starts_at)
            or now - self.last_seen_at > gap_s
            or (self.reopens_at is not None and now >= self.reopens_at)
        )

    def is_put_off(self, starts_at: float) -> bool:
        """Whether such a copy is of the alert, which was put off until a time that others share.

        As the end of a window or a hold; other refusals may be lifted at any time.
        """
        told = (self.reopens_at or 0.0) > (self.ended_at or 0.0) + RETRY_AFTER_S
        return told and not self._began_anew(starts_at)

    def _began_anew(self, starts_at: float) -> bool:
        # The alert may end and begin again before Alertmanager can send it as resolved.
        return self.resolved_at is not None or starts_at > (self.ended_at or starts_at)


def by_keys(connection: Connection, keys: Sequence[str]) -> dict[str, Episode]:
    """Episodes by key, without keys that have none."""
    if not keys:
        return {}
    query = _select(connection.dialect.name, episodes, "key")
    return {episode.key: episode for episode in _episodes(connection, query, keys)}


def query_of(keys: Sequence[str]) -> str | None:
    """The query of `by_keys` without parameters, for a few keys; None for others."""
    if not 0 < len(keys) <= _FEW or not all(map(_HASH.fullmatch, keys)):
        return None
    listed = ", ".join(f"'{key}'" for key in keys)
    return f"SELECT {', '.join(episodes.c.keys())} FROM inbox_episodes WHERE key IN ({listed})"  # noqa: S608 hashes


def from_rows(rows: Iterable[Sequence[Any]]) -> dict[str, Episode]:
    """Episodes by key, of the rows of `query_of`."""
    return {episode.key: episode for episode in map(_episode, rows)}


def save(connection: Connection, changed: Sequence[Episode], opened: Sequence[QueuedAlert]) -> None:
    """Store new and changed episodes, and the alerts that opened new ones."""
    dialect, names = connection.dialect.name, episodes.c.keys()
    if dialect == "postgresql" and 0 < len(changed) <= _CHUNK and 0 < len(opened) <= _CHUNK:
        # Of a delivery on its own, a round trip is a good part of its time.
        values = [[getattr(episode, name) for name in names] for episode in changed]
        added = [_row(alert) for alert in opened]
        both = f"WITH changed AS ({_upsert(dialect, episodes, 'key')}) {_insert(dialect, received)}"
        run(connection, both, (_json(values), _json(added)))
        return
    for episode_chunk in _chunks(changed):
        rows = [[getattr(episode, name) for name in names] for episode in episode_chunk]
        run(connection, _upsert(dialect, episodes, "key"), (_json(rows),))
    for alert_chunk in _chunks(opened):
        rows = [_row(alert) for alert in alert_chunk]
        run(connection, _insert(dialect, received), (_json(rows),))


# Every delivery runs these statements, so each is built once and takes all rows as one JSON
# parameter. SQLite's driver releases the interpreter's lock at each row, and in a storm waits long
# for it.
@cache
def _insert(dialect: str, table: Table) -> str:
    columns = list(table.c)
    if dialect == "sqlite":
        values = [f"json_extract(value, '$[{place}]')" for place in range(len(columns))]
        source = "json_each(?)"
    else:
        of: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's
        types = [column.type.compile(of) for column in columns]
        values = [f"CAST(value ->> {place} AS {type_})" for place, type_ in enumerate(types)]
        source = "json_array_elements(CAST(%s AS json)) AS rows(value)"
    names = ", ".join(column.name for column in columns)
    # "WHERE true", because SQLite would otherwise parse ON CONFLICT as the ON of a join.
    return f"INSERT INTO {table.name} ({names}) SELECT {', '.join(values)} FROM {source} WHERE true"  # noqa: S608 names of our own tables


@cache
def _upsert(dialect: str, table: Table, key: str) -> str:
    names = [column.name for column in table.c if column.name != key]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"{_insert(dialect, table)} ON CONFLICT ({key}) DO UPDATE SET {changes}"


@cache
def _select(dialect: str, table: Table, column: str) -> str:
    names = ", ".join(column.name for column in table.c)
    values = "SELECT value FROM json_each(?)"
    if dialect != "sqlite":
        values = "SELECT * FROM json_array_elements_text(CAST(%s AS json))"
    return f"SELECT {names} FROM {table.name} WHERE {column} IN ({values})"  # noqa: S608 as above


@dataclass(frozen=True)
class RunEnded:
    """The end of a run; from `reopens_at` on, a firing copy of its alert opens a new episode."""

    run_id: str
    at: float
    reopens_at: float | None


def end_runs(connection: Connection, ended: Sequence[RunEnded]) -> None:
    """Record the end of runs in their episodes."""
    if ended:
        statement = update(episodes).where(episodes.c.run_id == bindparam("of"))
        statement = statement.values(ended_at=bindparam("at"), reopens_at=bindparam("reopens_at"))
        rows = [{"of": run.run_id, "at": run.at, "reopens_at": run.reopens_at} for run in ended]
        connection.execute(statement, rows)


def by_runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, Episode]:
    """Episodes by the id of their run."""
    query = _select(connection.dialect.name, episodes, "run_id")
    return {episode.run_id: episode for episode in _episodes(connection, query, run_ids)}


def resolved(connection: Connection, run_ids: Sequence[str]) -> frozenset[str]:
    """The runs among these whose alerts are resolved."""
    by_run = _select(connection.dialect.name, episodes, "run_id")
    query = f"{by_run} AND resolved_at IS NOT NULL"
    return frozenset(episode.run_id for episode in _episodes(connection, query, run_ids))


def runs_without_end(connection: Connection, limit: int) -> Sequence[str]:
    """Runs whose end no episode has, oldest first."""
    query = select(episodes.c.run_id).where(episodes.c.ended_at.is_(None))
    return connection.scalars(query.order_by(episodes.c.run_id).limit(limit)).all()


# Built once, as the dispatcher asks twice a second.
_FIRST_QUEUED = (
    select(received.c.id)
    .order_by(received.c.priority, received.c.id)
    .limit(bindparam("limit", type_=Integer))
)


def queued(
    connection: Connection, limit: int, known: Mapping[str, QueuedAlert]
) -> Sequence[QueuedAlert]:
    """Alerts without a run yet, the most severe first, then the oldest; `known` are not read."""
    ids = connection.scalars(_FIRST_QUEUED, {"limit": limit}).all()
    found = dict(known)
    if new := [run_id for run_id in ids if run_id not in known]:
        by_id = _select(connection.dialect.name, received, "id")
        rows = connection.exec_driver_sql(by_id, (_json(new),))
        found |= {row.id: _from_row(row) for row in rows}
    return [found[run_id] for run_id in ids]


def newest_queued(
    connection: Connection, *, before: str | None, limit: int
) -> Sequence[QueuedAlert]:
    """Alerts without a run yet, by id, the highest first, below id `before`."""
    query = select(received).order_by(received.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(received.c.id < before)
    return [_from_row(row) for row in connection.execute(query)]


def queued_alert(connection: Connection, run_id: str) -> QueuedAlert | None:
    """The alert that will become this run."""
    row = connection.execute(select(received).where(received.c.id == run_id)).one_or_none()
    return None if row is None else _from_row(row)


def still_queued(connection: Connection, ids: Sequence[str]) -> frozenset[str]:
    """The ids among these whose alerts have no run yet."""
    query = _select(connection.dialect.name, received, "id")
    return frozenset(row.id for row in connection.exec_driver_sql(query, (_json(ids),)))


def count_queued(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(received)).scalar_one()


def remove(connection: Connection, ids: Sequence[str]) -> None:
    """Remove alerts that have a run now."""
    for chunk in _chunks(ids):
        connection.execute(delete(received).where(received.c.id.in_(chunk)))


def _episodes(connection: Connection, query: str, values: Sequence[str]) -> Iterator[Episode]:
    """The rows of a query by `_select`."""
    yield from map(_episode, run(connection, query, (_json(values),)))


def _episode(row: Sequence[Any]) -> Episode:
    return Episode(**dict(zip(episodes.c.keys(), row, strict=True)))


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Split the values, so that a storm's JSON does not fill the memory."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _json(value: object) -> str:
    return to_json(value).decode()


def _from_row(row: Row[Any]) -> QueuedAlert:
    alert = Alert(**from_json(row.alert))
    return QueuedAlert(
        id=row.id, received_at=row.received_at, alert=alert, not_before=row.not_before
    )


def _row(queued: QueuedAlert) -> list[object]:
    alert = queued.alert
    return [queued.id, queued.received_at, _json(vars(alert)), alert.priority, queued.not_before]
