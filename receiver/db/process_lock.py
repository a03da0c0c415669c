"""Locks between processes: one receiver a SQLite file, one audit export a database."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url

from receiver.db.database import Database

# Arbitrary, and none of the lock numbers in `receiver.db.engines`.
_EXPORT = 728_003


class AlreadyRunningError(Exception):
    """Another receiver uses the same SQLite file, which only one may."""


class AlreadyExportingError(Exception):
    """Another export is under way; two would write overlapping files."""


@contextmanager
def export_lock(database: Database) -> Iterator[None]:
    """Hold the database's lock on audit exports. Raises AlreadyExportingError."""
    path = database.engine.url.database
    if database.engine.dialect.name == "sqlite" and path:
        descriptor = os.open(f"{path}.export", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)
        return
    # The session holds it outside a transaction: PostgreSQL ends idle transactions.
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        acquired = connection.exec_driver_sql(
            f"SELECT pg_try_advisory_lock({_EXPORT})"
        ).scalar_one()
        if not acquired:
            raise AlreadyExportingError("another export is under way")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_EXPORT})")


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyExportingError("another export is under way") from None


class ProcessLock:
    """Lets one receiver use a SQLite file; a second one would repeat the first one's runs."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite" and parsed.database
        self._path = Path(f"{parsed.database}.lock") if sqlite else None
        self._descriptor: int | None = None

    def acquire(self) -> Self:
        """Lock the file next to the database. Raises AlreadyRunningError."""
        if self._path is None:
            return self
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise AlreadyRunningError(f"another receiver runs on {self._path.name[:-5]}") from None
        return self

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
