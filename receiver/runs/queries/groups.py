"""Runs counted by what they have in common, so that a storm is one row."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from receiver.db.tables import run_search, runs
from receiver.runs.model import IN_FLIGHT


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs of one alert in one group (or on one target), with the same state and refusal.

    `first_at` and `last_at` are when the first and the last of them came (epoch seconds).
    """

    alertname: str
    group: str | None
    target: str | None
    account: str | None
    region: str | None
    state: str
    refusal: str | None
    count: int
    newest: str
    first_at: float
    last_at: float


def ended_since(connection: Connection, since: float, limit: int) -> Sequence[RunGroup]:
    """The groups of ended runs received since then (epoch seconds), the latest first."""
    # A group's members are counted together; without a group each target is by itself.
    alone = func.coalesce(runs.c.group_name, runs.c.target)
    keys = (
        run_search.c.alertname,
        runs.c.group_name,
        runs.c.account,
        runs.c.region,
        runs.c.state,
        runs.c.refusal,
    )
    newest = func.max(runs.c.id)
    query = (
        select(
            *keys,
            func.max(runs.c.target).label("target"),
            func.count().label("count"),
            newest.label("newest"),
            func.min(runs.c.received_at).label("first_at"),
            func.max(runs.c.received_at).label("last_at"),
        )
        .join(run_search, run_search.c.run_id == runs.c.id)
        .where(runs.c.received_at >= since, runs.c.state.not_in(IN_FLIGHT))
        .group_by(*keys, alone)
        .order_by(newest.desc())
        .limit(limit)
    )
    return [
        RunGroup(**{("group" if name == "group_name" else name): row[name] for name in row})
        for row in connection.execute(query).mappings()
    ]
