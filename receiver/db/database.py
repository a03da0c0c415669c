"""A database with two kinds of transaction: snapshot reads, and serialised writes."""

import secrets
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Engine, MetaData, Table, Text, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from receiver.db.engines import (
    BUSY_TIMEOUT_S,
    TRIED_AFTER_S,
    UNUSED_SINCE,
    postgresql_engine,
    sqlite_engine,
)

# Size of the test write that detects a full disk.
_TEST_WRITE_BYTES = 65_536
# Time limit of the check for damage, which may not reach the end of a large file.
_DAMAGE_CHECK_S = 1.0
# SQLSTATE prefixes: connection failure; server shutting down or starting.
_CONNECTION_LOST = ("08", "57P")
# Errors caused by the statement, not by the connection or the disk.
_STATEMENT_ERRORS = (DataError, IntegrityError, ProgrammingError)


class DatabaseUrlError(Exception):
    """The URL cannot be used; the text has no password."""


class SchemaError(Exception):
    """A newer release migrated the database; this release must not use it."""


@dataclass
class Database:
    """A database; `failing` if a transaction failed after the last successful `ping`."""

    engine: Engine
    failing: bool = field(default=False, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)

    @contextmanager
    def write(
        self, *, synced: bool = True, first: str | None = None, kept: "KeptConnection | None" = None
    ) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement on.

        One that is not `synced` waits for no disk: until the next one that is, a loss of power may
        undo it, but no crash of this process. On PostgreSQL the query `first` is sent with the
        lock; its rows are `info["first"]` of the connection. A thread that writes often has a
        connection `kept`: to take one from the pool and to give it back takes a sixth of a write.
        """
        with (
            self._note_failure(),
            self._wait_for_turn(),
            kept.use() if kept else self.engine.connect() as connection,
            connection.execution_options(synced=synced, first=first).begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot; never waits for a writer."""
        with (
            self._note_failure(),
            self.engine.connect().execution_options(snapshot=True) as connection,
            # Begun at once, as the driver may run the first statement. It ends by a commit: after a
            # rollback the driver would prepare all statements again.
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def ask(self) -> Iterator[Connection]:
        """As `read`, but each query is by itself: a snapshot takes two more round trips."""
        with (
            self._note_failure(),
            self.engine.connect().execution_options(alone=True) as connection,
        ):
            yield connection

    @contextmanager
    def _wait_for_turn(self) -> Iterator[None]:
        """On SQLite, wait for the other threads that write.

        SQLite polls for its lock at growing intervals: of eight threads that write, one waited for
        five seconds. PostgreSQL queues those that wait.
        """
        polls = self.engine.dialect.name == "sqlite"
        # Behind a write that hangs, SQLite's own timeout ends the wait with an error.
        taken = polls and self._turn.acquire(timeout=BUSY_TIMEOUT_S)
        try:
            yield
        finally:
            if taken:
                self._turn.release()

    @contextmanager
    def _note_failure(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self.failing = self.failing or not isinstance(error, _STATEMENT_ERRORS)
            raise

    def ping(self) -> None:
        """Test a read and, after a failure, a write.

        A read alone does not detect a full or read-only disk, or a damaged file. Raises
        SQLAlchemyError.
        """
        if self.failing:
            self.check_writable()
            self.failing = False
        with self.ask() as connection:
            connection.exec_driver_sql("SELECT 1")

    def check_writable(self) -> None:
        """Check for damage, then write 64 KiB and remove them. Raises SQLAlchemyError."""
        with self.write() as connection:
            if self.engine.dialect.name == "sqlite":
                _check_for_damage(connection)
            # A unique name, so that two receivers can check at once.
            name = f"smartcloudops_trial_{secrets.token_hex(4)}"
            trial = Table(name, MetaData(), Column("room", Text))
            trial.create(connection)
            connection.execute(insert(trial), {"room": secrets.token_hex(_TEST_WRITE_BYTES // 2)})
            trial.drop(connection)

    def migrate(self, history: str, *, to: str = "head") -> None:
        """Bring the schema named `history` (a folder of receiver/db/migrations) up to date.

        `to` is one of its revisions. Raises SchemaError where a newer release migrated it.
        """
        migrations = Path(__file__).parent / "migrations"
        config = Config()
        config.set_main_option("script_location", str(migrations))
        config.set_main_option("version_locations", str(migrations / history))
        config.set_main_option("path_separator", "os")
        with self.write() as connection:
            config.attributes.update(connection=connection, history=history)
            _refuse_newer(connection, config, history)
            command.upgrade(config, to)


@dataclass
class KeptConnection:
    """A connection that one thread keeps from write to write; `close` gives it back.

    After an error or a second without a write, the pool gives another one, which it has tried.
    """

    engine: Engine
    _connection: Connection | None = field(default=None, init=False)
    _used_at: float = field(default=0.0, init=False)

    @contextmanager
    def use(self) -> Iterator[Connection]:
        if time.monotonic() - self._used_at > TRIED_AFTER_S:
            self.close()
        if self._connection is None:
            self._connection = self.engine.connect()
        try:
            yield self._connection
        except BaseException:
            self.close()
            raise
        self._used_at = time.monotonic()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if not connection.invalidated:
                connection.info[UNUSED_SINCE] = self._used_at
            connection.close()


def is_connection_lost(error: SQLAlchemyError) -> bool:
    """Whether the server did not answer, for example during a restart; never true for SQLite."""
    state = getattr(getattr(error, "orig", None), "sqlstate", "")
    if state is None:
        # Raised by the driver, not the server: a lost connection, or values that it cannot send.
        return isinstance(error, OperationalError)
    return state.startswith(_CONNECTION_LOST)


def describe_error(error: SQLAlchemyError) -> str:
    """A short text about the failure, without host, user or password."""
    cause = getattr(error, "orig", None) or error
    # SQLite's texts are a closed set; PostgreSQL's may contain hosts and users.
    if isinstance(cause, sqlite3.Error):
        return str(cause)
    by_driver = getattr(cause, "sqlstate", "") is None
    if by_driver and is_connection_lost(error):
        return "PostgreSQL accepts no connection"
    return type(cause).__name__


def database(url: str, *, use: Literal["state", "inbox"] = "state") -> Database:
    """A database for the URL; the folder of a SQLite file is created if it is missing.

    Raises DatabaseUrlError.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return Database(postgresql_engine(parsed, use))
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise DatabaseUrlError("the database URL is neither a SQLite file nor PostgreSQL")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    return Database(sqlite_engine(str(parsed)))


@contextmanager
def open_or_empty(url: str) -> Iterator[Database]:
    """Open the service's database, or an empty one if the service never ran.

    Raises DatabaseUrlError.
    """
    parsed = _parse(url)
    file = parsed.database if parsed.get_backend_name() == "sqlite" else None
    if file is None or Path(file).exists():
        yield database(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        empty = database(f"sqlite:///{folder}/empty.db")
        empty.migrate("state")
        yield empty
        empty.engine.dispose()


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise DatabaseUrlError("the database URL cannot be parsed") from None


def inbox_url(url: str) -> str:
    """The URL of the inbox; on SQLite its own file, so that an ack waits for no other writer."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return url
    path = Path(parsed.database)
    return str(parsed.set(database=str(path.with_name(f"{path.stem}-inbox{path.suffix}"))))


def _check_for_damage(connection: Connection) -> None:
    """SQLite's quick check, for at most a second. Raises DatabaseError."""
    driver: Any = connection.connection.driver_connection
    until = time.monotonic() + _DAMAGE_CHECK_S
    driver.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        result = driver.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise DatabaseError("PRAGMA quick_check", None, error) from error
        # The time limit ended the check before it found damage.
        return
    finally:
        driver.set_progress_handler(None, 0)
    if result != "ok":
        damage = sqlite3.DatabaseError("database disk image is malformed")
        raise DatabaseError("PRAGMA quick_check", None, damage)


def _refuse_newer(connection: Connection, config: Config, history: str) -> None:
    scripts = ScriptDirectory.from_config(config)
    known_revisions = {script.revision for script in scripts.walk_revisions()}
    options = {"version_table": f"schema_{history}"}
    heads = MigrationContext.configure(connection, opts=options).get_current_heads()
    if newer := sorted(set(heads) - known_revisions):
        raise SchemaError(
            f"a newer release migrated the database (schema {newer[0]}): run that release"
        )
