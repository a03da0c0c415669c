"""Counts of runs by state and playbook."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from actions.tables import intents
from receiver.db.tables import runs
from receiver.runs.model import State
from receiver.runtime.rfc3339 import DAY_S

_TIMES_MOST = 20


def count_by_state(connection: Connection, since: float) -> Mapping[str, int]:
    """Counts of runs received since `since` (epoch seconds), by state."""
    query = select(runs.c.state, func.count().label("runs")).where(runs.c.received_at >= since)
    return {row.state: row.runs for row in connection.execute(query.group_by(runs.c.state))}


def count_by_playbook(connection: Connection, since: float) -> Mapping[str, Mapping[str, int]]:
    """As `count_by_state`, first by the playbook's name."""
    query = (
        select(runs.c.playbook, runs.c.state, func.count().label("runs"))
        .where(runs.c.received_at >= since, runs.c.playbook.is_not(None))
        .group_by(runs.c.playbook, runs.c.state)
    )
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(query):
        counts[row.playbook][row.state] = row.runs
    return counts


@dataclass(frozen=True, kw_only=True)
class Period:
    """Runs received from `start` on (epoch seconds), by state and refusal."""

    start: float
    counts: Mapping[tuple[str, str | None], int]


def count_by_day(
    connection: Connection, now: float, days: int, *, group: str | None = None
) -> Sequence[Period]:
    """The last days in UTC, the oldest first, today's until now; of one group where it is given."""
    today = now - now % DAY_S
    starts = [today - DAY_S * number for number in reversed(range(days))]
    where = () if group is None else (runs.c.group_name == group,)
    return [_period(connection, start, DAY_S, where) for start in starts]


def count_by_week(
    connection: Connection, now: float, weeks: int, playbook: str
) -> Sequence[Period]:
    """A playbook's last weeks, each of seven days, the oldest first, until now."""
    week_s = 7 * DAY_S
    starts = [now - week_s * number for number in reversed(range(1, weeks + 1))]
    where = (runs.c.playbook == playbook,)
    return [_period(connection, start, week_s, where) for start in starts]


def _period(
    connection: Connection, start: float, lasts_s: float, where: Sequence[ColumnElement[bool]]
) -> Period:
    keys = (runs.c.state, runs.c.refusal)
    query = select(*keys, func.count().label("runs")).where(
        runs.c.received_at >= start, runs.c.received_at < start + lasts_s, *where
    )
    rows = connection.execute(query.group_by(*keys))
    return Period(start=start, counts={(row.state, row.refusal): row.runs for row in rows})


def recovery_times(connection: Connection, playbook: str, action: str) -> Sequence[float]:
    """Seconds from the step to the recovery, of the playbook's last runs that recovered by it."""
    query = (
        select(runs.c.ended_at - intents.c.started_at)
        .join(intents, intents.c.run_id == runs.c.id)
        .where(
            runs.c.playbook == playbook,
            runs.c.state == State.SUCCEEDED,
            intents.c.action == action,
            intents.c.undoes.is_(None),
        )
        .order_by(runs.c.id.desc())
        .limit(_TIMES_MOST)
    )
    return connection.scalars(query).all()
