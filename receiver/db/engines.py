"""SQLAlchemy engines for SQLite and PostgreSQL, with the locks that a write transaction takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

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
        if _is_snapshot(connection):
            connection.exec_driver_sql("BEGIN")
            return
        # https://www.sqlite.org/pragma.html#pragma_synchronous
        level = "FULL" if _is_synced(connection) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def postgresql_engine(url: URL, use: str) -> Engine:
    """An engine whose write transactions take the advisory lock of `use`."""
    lock = _LOCKS[use]
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=_POSTGRESQL
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if _is_snapshot(connection):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
        if not _is_synced(connection):
            # https://www.postgresql.org/docs/current/wal-async-commit.html
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _is_snapshot(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("snapshot", False))


def _is_synced(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("synced", True))
