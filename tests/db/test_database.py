"""Write transactions of several threads."""

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import InternalError

from actions.driver import run
from receiver.db.database import Database, KeptConnection, database
from receiver.db.engines import TRIED_AFTER_S

_INSERT = text("INSERT INTO written VALUES (:by)")


def test_a_thread_that_keeps_writing_keeps_no_other_one_out(tmp_path: Path) -> None:
    """Each of ten writes gets its turn soon; SQLite alone answers that the database is locked."""
    state = database(f"sqlite:///{tmp_path}/state.db")
    writing, stopping = threading.Event(), threading.Event()
    with state.write() as connection:
        connection.execute(text("CREATE TABLE written (by TEXT)"))

    def keep_writing() -> None:
        while not stopping.is_set():
            with state.write() as connection:
                connection.execute(_INSERT, {"by": "busy"})
                writing.set()
                time.sleep(0.02)

    busy = threading.Thread(target=keep_writing)
    busy.start()
    try:
        for _ in range(10):
            writing.clear()
            writing.wait()
            asked_at = time.monotonic()
            with state.write() as connection:
                connection.execute(_INSERT, {"by": "patient"})
            assert time.monotonic() - asked_at < 2
    finally:
        stopping.set()
        busy.join()


def test_only_what_need_not_be_on_disk_at_once_waits_for_no_disk(state: Database) -> None:
    """SQLite's FULL is 2, NORMAL 1; each transaction has its own, whatever came before it."""

    def level(*, synced: bool) -> int:
        with state.write(synced=synced) as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    assert [level(synced=synced) for synced in (True, False, True)] == [2, 1, 2]


@pytest.mark.parametrize("kind", ["state", "empty"])
def test_a_thread_that_writes_often_keeps_its_connection(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Each write is a transaction of its own; after a failed one, the connection is another."""
    records: Database = request.getfixturevalue(kind)
    kept = KeptConnection(records.engine)

    def fail() -> None:
        with records.write(kept=kept) as connection:
            connection.execute(_INSERT, {"by": "third"})
            raise ZeroDivisionError

    with records.write(kept=kept) as connection:
        connection.execute(text("CREATE TABLE written (by TEXT)"))
        first = connection
    with records.write(kept=kept) as connection:
        connection.execute(_INSERT, {"by": "second"})
        assert connection is first
    with pytest.raises(ZeroDivisionError):
        fail()
    with records.write(kept=kept) as connection:
        assert connection is not first
        connection.execute(_INSERT, {"by": "fourth"})
    kept.close()
    with records.read() as connection:
        written = connection.scalars(text("SELECT by FROM written ORDER BY by")).all()
    assert written == ["fourth", "second"]


def test_a_kept_connection_that_was_lost_meanwhile_is_replaced(shared: Database) -> None:
    """No write fails because PostgreSQL was restarted while none was made."""
    kept = KeptConnection(shared.engine)
    with shared.write(kept=kept) as connection:
        lost = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with shared.ask() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend({lost})")
    time.sleep(TRIED_AFTER_S + 0.1)
    with shared.write(kept=kept) as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() != lost
    kept.close()


def test_postgresql_syncs_alike(empty: Database) -> None:
    def setting(*, synced: bool) -> str:
        with empty.write(synced=synced) as connection:
            return str(connection.exec_driver_sql("SHOW synchronous_commit").scalar_one())

    assert [setting(synced=synced) for synced in (True, False, True)] == ["on", "off", "on"]


def _count(connection: Connection) -> int:
    # By the driver itself, which SQLAlchemy does not tell to begin a transaction.
    return int(run(connection, "SELECT count(*) FROM followers").fetchone()[0])


@pytest.mark.parametrize("kind", ["state", "shared"])
def test_only_a_snapshot_hides_what_others_commit(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """All that one reads is of one moment; who asks by itself gets what is there by then."""
    records: Database = request.getfixturevalue(kind)
    seen = {}
    for name, reading in (("read", records.read), ("ask", records.ask)):
        with reading() as connection:
            before = _count(connection)
            with records.write() as other:
                other.execute(
                    text("INSERT INTO followers (name, seq) VALUES (:name, 1)"), {"name": name}
                )
            seen[name] = _count(connection) - before
    assert seen == {"read": 0, "ask": 1}


def test_a_snapshot_refuses_to_write(shared: Database) -> None:
    """PostgreSQL itself keeps a reader from changing what others rely on."""
    with pytest.raises(InternalError, match="read-only"), shared.read() as connection:
        connection.execute(text("DELETE FROM followers"))
    with shared.write() as connection:
        connection.execute(text("DELETE FROM followers"))
