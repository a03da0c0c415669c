"""SQLAlchemy engines for SQLite and PostgreSQL, with the locks that a write transaction takes."""

import math
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from psycopg import Error
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from actions.driver import run

BUSY_TIMEOUT_S = 10
# After a storm the write-ahead log is truncated to 16 MiB.
_PRAGMAS = (
    "journal_mode=WAL",
    "journal_size_limit=16777216",
    "foreign_keys=ON",
)
# The write lock of each use of a PostgreSQL database; SQLite has one for each file. The numbers
# are arbitrary, and must not change while receivers of two releases share a database.
_LOCKS: Mapping[str, int] = MappingProxyType({"state": 728_001, "inbox": 728_002})
# A receiver that freezes or loses its network in a transaction must not block the others.
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
    "options": "-c idle_in_transaction_session_timeout=5s -c lock_timeout=10s",
}
_PREPARED_MAX = 1000
# A connection that was unused for so long is tried before it is used again.
TRIED_AFTER_S = 1.0
# In the `info` of a connection that is given back later than it was used.
UNUSED_SINCE = "unused_since"


def sqlite_engine(url: str) -> Engine:
    """An engine whose write transactions take the file's lock with their first statement."""
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver would begin late and without the lock, so "begin" below begins transactions.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if is_alone(connection):
            return
        if _is_snapshot(connection):
            run(connection, "BEGIN")
            return
        # https://www.sqlite.org/pragma.html#pragma_synchronous
        level = "FULL" if _is_synced(connection) else "NORMAL"
        if connection.info.get("synchronous") != level:
            run(connection, f"PRAGMA synchronous={level}")
            connection.info["synchronous"] = level
        run(connection, "BEGIN IMMEDIATE")

    return engine


def postgresql_engine(url: URL, use: str) -> Engine:
    """An engine whose write transactions take the advisory lock of `use`."""
    write = f"BEGIN; SELECT pg_advisory_xact_lock({_LOCKS[use]})"
    # https://www.postgresql.org/docs/current/wal-async-commit.html
    unsynced = f"{write}, set_config('synchronous_commit', 'off', true)"
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        # The driver begins no transaction: it would send that by itself.
        isolation_level="AUTOCOMMIT",
        # No overflow: under load, a connection was made for every third transaction.
        pool_size=15,
        max_overflow=0,
        pool_use_lifo=True,
        connect_args=_POSTGRESQL,
    )
    _try_idle_connections(engine)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # An act alone runs more statements than the driver keeps prepared.
        connection.prepared_max = _PREPARED_MAX

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if is_alone(connection):
            return
        if _is_snapshot(connection):
            # At the default level each statement would see later commits.
            run(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        first = connection.get_execution_options().get("first")
        sent = write if _is_synced(connection) else unsynced
        # PostgreSQL prepares no several statements in one.
        cursor = run(connection, f"{sent}; {first}" if first else sent, prepare=False)
        if first:
            connection.info["first"] = cursor.set_result(-1).fetchall()

    return engine


def _try_idle_connections(engine: Engine) -> None:
    """Replace a connection that was lost while nobody used it, as after a restart of the server.

    `pool_pre_ping` asks before each use, which was a fifth of what the service asked.
    """

    @event.listens_for(engine, "checkin")
    def note(_: object, entry: ConnectionPoolEntry) -> None:
        entry.info["used_at"] = entry.info.pop(UNUSED_SINCE, time.monotonic())

    @event.listens_for(engine, "checkout")
    def look(driver: Any, entry: ConnectionPoolEntry, _: object) -> None:
        if time.monotonic() - entry.info.get("used_at", math.inf) < TRIED_AFTER_S:
            return
        try:
            engine.dialect.do_ping(driver)
        except Error as error:
            # All others are as old as the server's restart.
            raise InvalidatePoolError from error


def is_alone(connection: Connection) -> bool:
    """Whether each statement is a transaction of its own."""
    return bool(connection.get_execution_options().get("alone", False))


def _is_snapshot(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("snapshot", False))


def _is_synced(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("synced", True))
