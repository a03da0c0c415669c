"""Searches for runs: by state, playbook, target and time, and those that people judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, exists, or_, select

from actions.tables import intents
from receiver.db.tables import has_feedback, runs
from receiver.runs.model import Run, State
from receiver.runs.store import from_row


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """A filter of runs; `target` is the alert's target or a step's. None means any."""

    state: State | None = None
    playbook: str | None = None
    target: str | None = None
    account: str | None = None
    region: str | None = None
    since: float | None = None


_ANY = RunFilter()


def list_runs(
    connection: Connection,
    wanted: RunFilter = _ANY,
    *,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[Run]:
    """The matching runs without evidence, newest first, below run id `before`."""
    columns = [column for column in runs.c if column.name != "evidence"]
    query: Select[Any] = select(*columns).order_by(runs.c.id.desc()).limit(limit)
    if wanted.state is not None:
        query = query.where(runs.c.state == wanted.state)
    if wanted.playbook is not None:
        query = query.where(runs.c.playbook == wanted.playbook)
    if wanted.target is not None:
        target = wanted.target
        of_step = exists().where(intents.c.run_id == runs.c.id, intents.c.target == target)
        query = query.where(or_(runs.c.target == target, of_step))
    for column, value in ((runs.c.account, wanted.account), (runs.c.region, wanted.region)):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(runs.c.received_at >= wanted.since)
    if before is not None:
        query = query.where(runs.c.id < before)
    rows = connection.execute(query).mappings()
    return [from_row(dict(row) | {"evidence": None}) for row in rows]


def newest_about(connection: Connection, name: str, *, since: float) -> str | None:
    """The newest run, since a time, whose target or group has this name."""
    about = or_(runs.c.target == name, runs.c.group_name == name)
    query = select(runs.c.id).where(about, runs.c.received_at >= since)
    return connection.execute(query.order_by(runs.c.id.desc()).limit(1)).scalar()


def with_human_verdict(
    connection: Connection, *, since: float | None = None, before: str | None = None, limit: int
) -> Sequence[Run]:
    """Runs with feedback, an approval or a denial, newest first, below run id `before`."""
    query = select(runs).where(has_feedback).order_by(runs.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    if before is not None:
        query = query.where(runs.c.id < before)
    return [from_row(row) for row in connection.execute(query).mappings()]
