"""Counts of runs by state and playbook."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from receiver.db.tables import runs


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
