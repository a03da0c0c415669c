"""How often runs ended how, counted over a time."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from receiver.db.tables import runs


def by_state(connection: Connection, since: float) -> Mapping[str, int]:
    """Runs that came in since then."""
    query = select(runs.c.state, func.count().label("runs")).where(runs.c.received_at >= since)
    return {row.state: row.runs for row in connection.execute(query.group_by(runs.c.state))}


def by_playbook(connection: Connection, since: float) -> Mapping[str, Mapping[str, int]]:
    """The same, by the playbook's name first."""
    query = (
        select(runs.c.playbook, runs.c.state, func.count().label("runs"))
        .where(runs.c.received_at >= since, runs.c.playbook.is_not(None))
        .group_by(runs.c.playbook, runs.c.state)
    )
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(query):
        found[row.playbook][row.state] = row.runs
    return found
