"""One process to a SQLite file."""

import fcntl
import os
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url


class AlreadyRunningError(Exception):
    """Another receiver works on the same SQLite file, which only one may."""


class SingleProcess:
    """On SQLite the engine is one process; a second one would repeat what the first one runs."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite" and parsed.database
        self._path = Path(f"{parsed.database}.lock") if sqlite else None
        self._descriptor: int | None = None

    def take(self) -> Self:
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
