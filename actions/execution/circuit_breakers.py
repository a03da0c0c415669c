"""The circuit breaker of a playbook: it opens after three failed runs in a row.

Half an hour later it is half open: one trial run may act. Its success closes the breaker, its
failure opens it again.
"""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, select

from actions.execution.records import Breaker
from actions.tables import breakers, insert_into

FAILURES = 3


def read_breaker(connection: Connection, playbook: str) -> Breaker:
    """A playbook's breaker; closed for a playbook that never failed."""
    query = select(breakers).where(breakers.c.playbook == playbook)
    row = connection.execute(query).mappings().one_or_none()
    return Breaker(playbook=playbook) if row is None else Breaker(**row)


def read_all(connection: Connection) -> Mapping[str, Breaker]:
    """The breakers of all playbooks that ever failed, by playbook."""
    rows = connection.execute(select(breakers)).mappings()
    return {row["playbook"]: Breaker(**row) for row in rows}


def start_half_open_trial(connection: Connection, playbook: str, run_id: str) -> None:
    """Make the run the trial of the breaker, where the breaker is open."""
    breaker = read_breaker(connection, playbook)
    if breaker.opened_at is not None:
        _write(connection, replace(breaker, probe=run_id))


def record_success(connection: Connection, playbook: str) -> None:
    if read_breaker(connection, playbook).failures:
        _write(connection, Breaker(playbook=playbook))


def record_failure(connection: Connection, playbook: str, now: float) -> bool:
    """Count one more failure. Returns whether the breaker is open now."""
    failures = read_breaker(connection, playbook).failures + 1
    opened_at = now if failures >= FAILURES else None
    _write(connection, Breaker(playbook=playbook, failures=failures, opened_at=opened_at))
    return opened_at is not None


def end_trial(connection: Connection, playbook: str, run_id: str) -> None:
    """Let another run be the trial, because this one ended without a success or a failure."""
    breaker = read_breaker(connection, playbook)
    if breaker.probe == run_id:
        _write(connection, replace(breaker, probe=None))


def _write(connection: Connection, breaker: Breaker) -> None:
    values = vars(breaker)
    statement = insert_into(connection, breakers).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["playbook"], set_=values))
