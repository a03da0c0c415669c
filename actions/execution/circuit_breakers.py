"""The circuit breaker of a playbook: after three failures in a row it lets nothing through.

Half an hour later one run may try; if that succeeds it closes, otherwise it opens again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from actions.tables import breakers

FAILURES = 3
RESTS_S = 1_800.0


@dataclass(frozen=True, kw_only=True)
class Breaker:
    playbook: str
    failures: int = 0
    opened_at: float | None = None
    probe: str | None = None

    def denies(self, run_id: str | None, now: float) -> str | None:
        """Why it lets the run not through, in words; None where it does."""
        if self.opened_at is None:
            return None
        if now < self.opened_at + RESTS_S:
            left = self.opened_at + RESTS_S - now
            return f"{self.failures} runs in a row failed; the next may try in {left:.0f} s"
        if self.probe is not None and self.probe != run_id:
            return f"{self.failures} runs in a row failed, and run {self.probe} tries now"
        return None


def read(connection: Connection, playbook: str) -> Breaker:
    """A playbook's breaker; one that never failed is closed."""
    query = select(breakers).where(breakers.c.playbook == playbook)
    row = connection.execute(query).mappings().one_or_none()
    return Breaker(playbook=playbook) if row is None else Breaker(**row)


def every(connection: Connection) -> Mapping[str, Breaker]:
    """Those that ever failed, by playbook."""
    rows = connection.execute(select(breakers)).mappings()
    return {row["playbook"]: Breaker(**row) for row in rows}


def probe(connection: Connection, playbook: str, run_id: str) -> None:
    """The run is the one that a half-open breaker lets through."""
    found = read(connection, playbook)
    if found.opened_at is not None:
        _write(connection, replace(found, probe=run_id))


def succeeded(connection: Connection, playbook: str) -> None:
    if read(connection, playbook).failures:
        _write(connection, Breaker(playbook=playbook))


def failed(connection: Connection, playbook: str, now: float) -> bool:
    """Count one more failure; whether the breaker is open now."""
    found = read(connection, playbook)
    failures = found.failures + 1
    opened_at = now if failures >= FAILURES else None
    _write(connection, Breaker(playbook=playbook, failures=failures, opened_at=opened_at))
    return opened_at is not None


def let_go(connection: Connection, playbook: str, run_id: str) -> None:
    """The run ended without having shown anything."""
    found = read(connection, playbook)
    if found.probe == run_id:
        _write(connection, replace(found, probe=None))


def _write(connection: Connection, breaker: Breaker) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = vars(breaker)
    statement = dialect.insert(breakers).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["playbook"], set_=values))
