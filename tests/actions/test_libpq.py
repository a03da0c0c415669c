"""Statements that libpq runs and keeps prepared, on PostgreSQL."""

from contextlib import suppress

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, NotSupportedError, OperationalError

from actions import libpq
from actions.driver import run
from receiver.db.database import Database, is_connection_lost

_PREPARED = "SELECT count(*) FROM pg_prepared_statements"


def _one(connection: Connection, sql: str, *values: object) -> object:
    [[value]] = run(connection, sql, *values)
    return value


def test_a_value_stands_where_its_name_or_place_is(shared: Database) -> None:
    with shared.read() as connection:
        assert (
            _one(connection, "SELECT %(a)s::int - %(b)s::int - %(a)s::int", {"b": 3, "a": 5}) == -3
        )
        assert _one(connection, "SELECT %s::text || '%%' || %s::text", ("x", "%s")) == "x%%s"


def test_it_is_prepared_once_and_outlasts_a_rollback(shared: Database) -> None:
    """After a rollback the driver itself would remove all prepared statements."""
    mine = f"{_PREPARED} WHERE statement = 'SELECT 1 / $1::int'"
    for value in (1, 0, 1, 0, 1):
        with suppress(DataError), shared.write() as connection:
            for _ in range(6):
                connection.exec_driver_sql("SELECT 2 + %s::int", (1,))
            assert _one(connection, "SELECT 1 / %s::int", (value,)) == value
            assert _one(connection, mine) == 1


def test_it_is_prepared_again_after_a_table_changed(shared: Database) -> None:
    """A newer release may migrate while this one serves."""
    query = "SELECT * FROM followers WHERE name = %s"

    def read() -> list[object]:
        with shared.ask() as connection:
            return [*run(connection, query, ("nobody",))]

    assert read() == []
    with shared.write() as connection:
        run(connection, "ALTER TABLE followers ADD COLUMN more text")
    with pytest.raises(NotSupportedError, match="cached plan"):
        read()
    assert read() == []


def test_only_so_many_are_kept(shared: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpq, "_PREPARED_MAX", 3)
    with shared.write() as connection:
        for number in [*range(5), 0]:
            assert _one(connection, f"SELECT %s::int + {number}", (1,)) == 1 + number
        assert _one(connection, _PREPARED) == 3


def test_a_lost_connection_is_told_and_replaced(shared: Database) -> None:
    def lose() -> None:
        with shared.write() as connection:
            process = _one(connection, "SELECT pg_backend_pid()")
            with shared.ask() as other:
                run(other, f"SELECT pg_terminate_backend({process})")
            _one(connection, "SELECT %s::int", (1,))

    with pytest.raises(OperationalError) as caught:
        lose()
    assert is_connection_lost(caught.value)
    with shared.write() as connection:
        assert _one(connection, "SELECT %s::int", (1,)) == 1


def test_a_commit_is_on_record_before_the_block_ends(shared: Database) -> None:
    with shared.write() as connection:
        run(connection, "INSERT INTO followers (name, seq) VALUES (%s, %s)", ("one", 1))
    with shared.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.info.transaction_status.name == "IDLE"
        assert _one(connection.execution_options(alone=True), "SELECT seq FROM followers") == 1
