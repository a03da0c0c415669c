"""Leader election among receivers that share a database, by a lease in it.

All of them take alerts and answer people; the leader decides and acts. A leader that cannot renew
its lease stops before another receiver may take it. It checks the lease by its own clock, which
also runs while the machine sleeps, and by the database's clock in every transaction before an
effect.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import structlog
from sqlalchemy import Connection, update
from sqlalchemy.exc import SQLAlchemyError

from receiver.db.database import Database
from receiver.db.tables import leadership

_log = structlog.get_logger()
_LEASE_S = 10.0
_RENEW_EVERY_S = 2.0
# Clocks drift, so this process counts its lease as expired this much earlier than others do.
_MARGIN_S = 2.0
# The term recorded after a start or a stop that raised before its end.
_INCOMPLETE = -1


class NotLeadingError(Exception):
    """The receiver does not lead, or no longer leads."""


class Leadership(Protocol):
    """The right to act. `write` opens a transaction in which an effect may be prepared."""

    @property
    def leading(self) -> bool: ...

    def start(self, lead: Callable[[], None], stand_down: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...

    def write(self, *, synced: bool = True) -> AbstractContextManager[Connection]: ...

    def check(self) -> None:
        """Raises NotLeadingError; call it right before an effect."""


@dataclass
class SingleWriter:
    """Leadership of a single receiver; a lock on its SQLite file keeps others out."""

    database: Database
    _stand_down: Callable[[], None] | None = field(default=None, init=False)

    @property
    def leading(self) -> bool:
        return True

    def start(self, lead: Callable[[], None], stand_down: Callable[[], None]) -> None:
        lead()
        self._stand_down = stand_down

    def stop(self) -> None:
        if self._stand_down is not None:
            self._stand_down()
            self._stand_down = None

    def write(self, *, synced: bool = True) -> AbstractContextManager[Connection]:
        return self.database.write(synced=synced)

    def check(self) -> None:
        """Always passes: no other receiver can act."""


@dataclass
class LeaseElector:
    """Leadership of one of several receivers on PostgreSQL; `name` is unique to this process.

    One thread calls `lead` and `stand_down`, in turn; either may take long.
    """

    database: Database
    name: str
    _term: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _changed: threading.Event = field(default_factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False)

    @property
    def leading(self) -> bool:
        return _now() < self._until

    def start(self, lead: Callable[[], None], stand_down: Callable[[], None]) -> None:
        follower = threading.Thread(
            target=self._follow_lease, args=(lead, stand_down), name="leadership", daemon=True
        )
        renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._threads = [renewer, follower]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stand down, then release the lease, so that another receiver leads at once."""
        self._stopping.set()
        self._changed.set()
        for thread in reversed(self._threads):
            thread.join()
        self._resign()

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        """A write transaction of the leader. Raises NotLeadingError."""
        with self.database.write(synced=synced, first=_LEASE) as connection:
            row = _Lease(*connection.info["first"][0])
            if (row.holder, row.term) != (self.name, self._term) or row.now > row.until:
                raise NotLeadingError
            yield connection

    def check(self) -> None:
        if not self.leading:
            raise NotLeadingError

    def _renew(self) -> None:
        while True:
            requested_at = _now()
            try:
                held = self._acquire()
            except SQLAlchemyError as error:
                # The lease expires by itself.
                cause = type(getattr(error, "orig", None) or error).__name__
                _log.warning("lease_renewal_failed", error=cause)
            else:
                self._until = requested_at + _LEASE_S - _MARGIN_S if held else 0.0
            self._changed.set()
            if self._stopping.wait(_RENEW_EVERY_S):
                return

    def _acquire(self) -> bool:
        """Take or renew the lease. Returns False while another receiver holds it."""
        with self.database.write(first=_LEASE) as connection:
            row = _Lease(*connection.info["first"][0])
            expired = row.now > row.until
            if not expired and row.holder != self.name:
                return False
            term = row.term + 1 if expired else row.term
            values = {"holder": self.name, "term": term, "until": row.now + _LEASE_S}
            connection.execute(update(leadership).values(values))
        self._term = term
        return True

    def _resign(self) -> None:
        self._until = 0.0
        own_lease = (leadership.c.holder == self.name, leadership.c.term == self._term)
        try:
            with self.database.write() as connection:
                connection.execute(update(leadership).where(*own_lease).values(until=0.0))
        except SQLAlchemyError as error:
            _log.warning("lease_release_failed", error=type(error).__name__)

    def _follow_lease(self, lead: Callable[[], None], stand_down: Callable[[], None]) -> None:
        """Start and stop acting as the lease is acquired and lost.

        Before the next start, the work of an earlier term is stopped, even if its start failed.
        Only a start resumes the runs that another receiver has left.
        """
        acting_term: int | None = None
        while not self._stopping.is_set():
            if acting_term is None and self.leading:
                term = self._term
                _log.info("became_leader", term=term)
                acting_term = term if self._succeeded(lead) else _INCOMPLETE
            elif acting_term is not None and not (self.leading and acting_term == self._term):
                _log.warning("lost_leadership", term=self._term)
                acting_term = None if self._succeeded(stand_down) else _INCOMPLETE
            self._changed.wait(_RENEW_EVERY_S)
            self._changed.clear()
        if acting_term is not None:
            stand_down()

    def _succeeded(self, change: Callable[[], None]) -> bool:
        try:
            change()
        except Exception as error:  # noqa: BLE001 another receiver may succeed
            _log.error("lead_change_failed", error=type(error).__name__, exc_info=error)
            self._resign()
            return False
        return True


def _now() -> float:
    """Seconds of a clock that also runs while the process is frozen or the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


# Asked for with the lock, as each transaction of the leader needs it; `now` is the time of the
# database, which all receivers share.
_LEASE = "SELECT holder, term, until, extract(epoch FROM clock_timestamp())::float8 FROM leadership"


class _Lease(NamedTuple):
    holder: str | None
    term: int
    until: float
    now: float


def make_leadership(state: Database) -> Leadership:
    """The leadership for this database: a single writer on SQLite, election on PostgreSQL."""
    if state.engine.dialect.name == "sqlite":
        return SingleWriter(state)
    name = f"{socket.gethostname()[:64]}/{os.getpid()}/{secrets.token_hex(4)}"
    return LeaseElector(state, name)
