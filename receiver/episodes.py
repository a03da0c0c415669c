"""The episodes of alerts, and the alerts that wait to become runs, as the inbox keeps them.

An episode is what one alert is to us from its first firing copy until its run has ended and it
was resolved, or not seen for longer than Alertmanager would stay silent; while it is open every
firing copy is a repeat, whatever its startsAt.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
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
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from actions.audit import canonical
from receiver.alerts import Alert

metadata = MetaData()

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

_CHUNK = 500


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
    found = (
        row
        for chunk in _chunks(keys)
        for row in connection.execute(select(episodes).where(episodes.c.key.in_(chunk))).mappings()
    )
    return {row["key"]: Episode(**row) for row in found}


def keep(connection: Connection, changed: Sequence[Episode], opened: Sequence[Waiting]) -> None:
    """Store new and changed episodes, and the alerts that opened some."""
    if changed:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(episodes)
        values = {c.name: statement.excluded[c.name] for c in episodes.c if c.name != "key"}
        statement = statement.on_conflict_do_update(index_elements=["key"], set_=values)
        connection.execute(statement, [vars(episode) for episode in changed])
    if opened:
        connection.execute(insert(received), [_row(one) for one in opened])


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
    found = (
        connection.scalars(select(received.c.id).where(received.c.id.in_(chunk)))
        for chunk in _chunks(ids)
    )
    return frozenset(one for chunk in found for one in chunk)


def untaken(connection: Connection) -> int:
    """How many alerts are not runs yet."""
    return connection.execute(select(func.count()).select_from(received)).scalar_one()


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Alerts that are runs now."""
    for chunk in _chunks(ids):
        connection.execute(delete(received).where(received.c.id.in_(chunk)))


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _row(one: Waiting) -> Mapping[str, object]:
    return {
        "id": one.id,
        "received_at": one.received_at,
        "alert": canonical(vars(one.alert)),
        "priority": one.alert.priority,
    }
