"""A chain, and hands that can do to it what the program never would."""

from sqlalchemy import text

from actions.audit.log import Event, append
from receiver.db.database import Database


def unguarded(state: Database) -> None:
    """Take the triggers away, as whoever owns the database can."""
    with state.write() as connection:
        triggers = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for name in connection.scalars(triggers).all():
            connection.execute(text(f"DROP TRIGGER {name}"))


def fill(state: Database, records: int, at: float = 100.5) -> None:
    """Add so many records of different looks, each a second after the one before."""
    with state.write() as connection:
        for number in range(records):
            run = f"{number:026}" if number % 2 else None
            event = Event(actor="alice", event="paused", run_id=run, detail={"comment": number})
            append(connection, at + number, event)
