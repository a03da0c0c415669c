"""The circuit breaker of a playbook in one place: it opens after three failed runs in a row.

Half an hour later it is half open: one trial run may act. Its success closes the breaker, its
failure opens it again.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, select

from actions.driver import Statement
from actions.execution.records import Breaker
from actions.place import Place
from actions.tables import breakers, insert_into, is_at_given

FAILURES = 3
_READ = Statement(
    select(breakers).where(is_at_given(breakers), breakers.c.playbook == bindparam("playbook"))
)


def read_breaker(connection: Connection, place: Place, playbook: str) -> Breaker:
    """A playbook's breaker; closed for a playbook that never failed there."""
    key = {**vars(place), "playbook": playbook}
    row = _READ.row(connection, key)
    return Breaker(**vars(place), playbook=playbook) if row is None else Breaker(**row)


def read_all(connection: Connection) -> Sequence[Breaker]:
    """The breakers of all playbooks that ever failed, by playbook and place."""
    query = select(breakers).order_by(breakers.c.playbook, breakers.c.account, breakers.c.region)
    return [Breaker(**row) for row in connection.execute(query).mappings()]


def start_half_open_trial(connection: Connection, place: Place, playbook: str, run_id: str) -> None:
    """Make the run the trial of the breaker, where the breaker is open."""
    breaker = read_breaker(connection, place, playbook)
    if breaker.opened_at is not None:
        _write(connection, replace(breaker, probe=run_id))


def record_success(connection: Connection, place: Place, playbook: str) -> None:
    if read_breaker(connection, place, playbook).failures:
        _write(connection, Breaker(**vars(place), playbook=playbook))


def record_failure(connection: Connection, place: Place, playbook: str, now: float) -> bool:
    """Count one more failure. Returns whether the breaker is open now."""
    breaker = read_breaker(connection, place, playbook)
    failures = breaker.failures + 1
    opened_at = now if failures >= FAILURES else None
    _write(connection, replace(breaker, failures=failures, opened_at=opened_at, probe=None))
    return opened_at is not None


def end_trial(connection: Connection, place: Place, playbook: str, run_id: str) -> None:
    """Let another run be the trial, because this one ended without a success or a failure."""
    breaker = read_breaker(connection, place, playbook)
    if breaker.probe == run_id:
        _write(connection, replace(breaker, probe=None))


def _write(connection: Connection, breaker: Breaker) -> None:
    values = vars(breaker)
    statement = insert_into(connection, breakers).values(values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=breakers.primary_key.columns, set_=values)
    )
