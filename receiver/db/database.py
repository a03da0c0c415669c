"""The database engines, and the two kinds of transaction: one that reads and one that writes."""

import secrets
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    insert,
)
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

_BUSY_TIMEOUT_S = 10
# A log that grew in a storm is cut to 16 MiB afterwards, instead of keeping its size for ever.
_PRAGMAS = (
    "journal_mode=WAL",
    "journal_size_limit=16777216",
    "synchronous=FULL",
    "foreign_keys=ON",
)
# What a database that is not full has room for, in bytes.
_ROOM = 65_536
_MOMENT_S = 1.0
# What PostgreSQL says when a connection fails, when it ends, and before it takes any.
_AWAY = ("08", "57P")
# The write lock of each use of a PostgreSQL database, as SQLite has one a file. The numbers are
# arbitrary, and must not change while receivers of two releases share a database.
_LOCKS: Mapping[str, int] = MappingProxyType({"state": 728_001, "inbox": 728_002})
# A receiver that froze, or was cut off, in a transaction must not hold up the others.
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
    "options": "-c idle_in_transaction_session_timeout=5s -c lock_timeout=10s",
}


class DatabaseUrlError(Exception):
    """The URL cannot be used; the text holds no password."""


class SchemaError(Exception):
    """The database was used by a newer release; this one must not touch it."""


# Of the statement, not of the database.
_OURS = (DataError, IntegrityError, ProgrammingError)


@dataclass
class Database:
    """`failing`: something failed since `look` last found it well."""

    engine: Engine
    failing: bool = field(default=False, init=False)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first statement on."""
        with self._minded(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot; never waits for a writer."""
        options: dict[str, Any] = {"snapshot": True}
        if self.engine.dialect.name == "postgresql":
            # The default would show each statement what was committed meanwhile.
            options["isolation_level"] = "REPEATABLE READ"
        with self._minded(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def _minded(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self.failing = self.failing or not isinstance(error, _OURS)
            raise

    def look(self) -> None:
        """Whether it can be used. Raises SQLAlchemyError.

        Once something failed it is tried in earnest: what is read-only, full or damaged shows
        nothing to who only asks whether it is there.
        """
        if self.failing:
            self.try_out()
            self.failing = False
        with self.read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def try_out(self) -> None:
        """Look for damage, make room, as every record needs some, and give it back.

        Raises SQLAlchemyError.
        """
        with self.engine.connect() as connection, connection.begin():
            if self.engine.dialect.name == "sqlite":
                _look_for_damage(connection)
            # Each has its own: two that try at once must not be in each other's way.
            trial = Table(
                f"smartcloudops_trial_{secrets.token_hex(4)}", MetaData(), Column("room", Text)
            )
            trial.create(connection)
            connection.execute(insert(trial), {"room": secrets.token_hex(_ROOM // 2)})
            trial.drop(connection)

    def migrate(self, history: str, *, to: str = "head") -> None:
        """Bring the schema named `history` (a folder of receiver/migrations) up to date.

        `to` is a revision of it. Raises SchemaError where the database is of a newer release.
        """
        here = Path(__file__).parent / "migrations"
        config = Config()
        config.set_main_option("script_location", str(here))
        config.set_main_option("version_locations", str(here / history))
        config.set_main_option("path_separator", "os")
        with self.write() as connection:
            config.attributes.update(connection=connection, history=history)
            _refuse_newer(connection, config, history)
            command.upgrade(config, to)


def away(error: SQLAlchemyError) -> bool:
    """Whether a server was not there to answer, as while it restarts; a file is always there."""
    state = getattr(getattr(error, "orig", None), "sqlstate", "")
    if state is None:
        # Said by the driver itself, of the connection, or of what it was given to send.
        return isinstance(error, OperationalError)
    return state.startswith(_AWAY)


def _look_for_damage(connection: Connection) -> None:
    """As far as one gets in a moment: a large file is not held up for."""
    driver: Any = connection.connection.driver_connection
    until = time.monotonic() + _MOMENT_S
    driver.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        said = driver.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise DatabaseError("PRAGMA quick_check", None, error) from error
        # Nothing was found until then.
        return
    finally:
        driver.set_progress_handler(None, 0)
    if said != "ok":
        damaged = sqlite3.DatabaseError("database disk image is malformed")
        raise DatabaseError("PRAGMA quick_check", None, damaged)


def _refuse_newer(connection: Connection, config: Config, history: str) -> None:
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    options = {"version_table": f"schema_{history}"}
    found = MigrationContext.configure(connection, opts=options).get_current_heads()
    if newer := sorted(set(found) - known):
        raise SchemaError(f"the database is of a newer release: its schema is {newer[0]}")


def fault(error: SQLAlchemyError) -> str:
    """What is wrong with a database, in few words that name no host, user or password."""
    cause = getattr(error, "orig", None) or error
    # SQLite's own texts are a closed set; PostgreSQL's tell who connected to what.
    if isinstance(cause, sqlite3.Error):
        return str(cause)
    unsaid = getattr(cause, "sqlstate", "") is None
    return "PostgreSQL takes no connection" if unsaid and away(error) else type(cause).__name__


def database(url: str, *, use: Literal["state", "inbox"] = "state") -> Database:
    """An engine for the URL; SQLite's folder is made where it is missing.

    Raises DatabaseUrlError.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseUrlError("the database URL cannot be read") from None
    if parsed.get_backend_name() == "postgresql":
        return Database(_postgresql(parsed, _LOCKS[use]))
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise DatabaseUrlError("the database URL is neither a SQLite file nor PostgreSQL")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    return Database(_sqlite(str(parsed)))


@contextmanager
def open_or_empty(url: str) -> Iterator[Database]:
    """The service's database, or an empty one where the service never ran."""
    parsed = make_url(url) if "://" in url else None
    file = parsed.database if parsed and parsed.get_backend_name() == "sqlite" else None
    if file is None or Path(file).exists():
        yield database(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        empty = database(f"sqlite:///{folder}/empty.db")
        empty.migrate("state")
        yield empty
        empty.engine.dispose()


def inbox_url(url: str) -> str:
    """On SQLite the inbox is a file of its own, so that an ack never waits for another writer."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return url
    path = Path(parsed.database)
    return str(parsed.set(database=str(path.with_name(f"{path.stem}-inbox{path.suffix}"))))


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _: object) -> None:
        # The driver would begin late and without the lock; "begin" below does it instead.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        snapshot = connection.get_execution_options().get("snapshot", False)
        connection.exec_driver_sql("BEGIN" if snapshot else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL, lock: int) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=_POSTGRESQL
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        snapshot = connection.get_execution_options().get("snapshot", False)
        if snapshot:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")

    return engine
