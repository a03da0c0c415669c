"""Locks between processes: one receiver per SQLite file, one audit export per database."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url

from actions.atomic_file import locked
from receiver.db.database import Database

# Arbitrary, but different from the lock numbers in `receiver.db.engines`.
_EXPORT = 728_003
_BUSY = "another export is running: try again when it has ended"


class AlreadyRunningError(Exception):
    """Another receiver uses the same SQLite file."""


class AlreadyExportingError(Exception):
    """Another export is running; two would write overlapping files."""


@contextmanager
def export_lock(database: Database) -> Iterator[None]:
    """Hold the database's lock on audit exports. Raises AlreadyExportingError."""
    path = database.engine.url.database
    if database.engine.dialect.name == "sqlite" and path:
        try:
            with locked(Path(f"{path}.export"), wait=False):
                yield
        except BlockingIOError:
            raise AlreadyExportingError(_BUSY) from None
        return
    # The session holds the lock outside a transaction, because PostgreSQL ends idle transactions.
    with database.engine.connect().execution_options(alone=True) as connection:
        acquired = connection.exec_driver_sql(
            f"SELECT pg_try_advisory_lock({_EXPORT})"
        ).scalar_one()
        if not acquired:
            raise AlreadyExportingError(_BUSY)
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_EXPORT})")


class ProcessLock:
    """Lets only one receiver use a SQLite file; a second one would repeat the first one's runs.

    The database file itself is locked by flock, which applies to every path and hard link to it.
    SQLite's own locks (fcntl) are independent of it as long as the file stays open: closing any
    descriptor of the file would release them (https://sqlite.org/howtocorrupt.html).
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        name = parsed.database if parsed.get_backend_name() == "sqlite" else None
        self._path = Path(name) if name and name != ":memory:" else None
        self._descriptors: list[int] = []

    def acquire(self) -> Self:
        """Lock the database file, creating it if missing. Raises AlreadyRunningError."""
        if self._path is None:
            return self
        # A receiver of an earlier version locks only a file next to the database.
        for path, mode in ((Path(f"{self._path}.lock"), 0o600), (self._path, 0o644)):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)
            self._descriptors.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release()
                raise AlreadyRunningError(
                    f"another receiver runs on {self._path.name}: stop it, or use PostgreSQL"
                ) from None
        return self

    def release(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())
