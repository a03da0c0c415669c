"""A chain, and hands that can do to it what the program never would."""

from sqlalchemy import delete, select, text, update

from actions.audit.log import Event, append
from actions.tables import audit, audit_head
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


def undo_last(state: Database) -> None:
    """Undo the last record, as a crash of PostgreSQL does with one that waited for no disk."""
    unguarded(state)
    with state.write() as connection:
        last = connection.execute(select(audit).order_by(audit.c.seq.desc()).limit(1)).one()
        connection.execute(delete(audit).where(audit.c.seq == last.seq))
        connection.execute(update(audit_head).values(seq=last.seq - 1, hash=last.previous))
