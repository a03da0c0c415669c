"""Which of several receivers acts: one at a time, by a lease in the database that they share.

All of them take alerts and answer people; the one that leads decides and acts. A lease that
cannot be renewed is given up before another receiver may take it: by this process's own clock,
which goes on while the machine sleeps, and again by the database's in every transaction before an
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
from typing import Protocol

import structlog
from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from receiver.db.database import Database
from receiver.db.tables import leadership

_log = structlog.get_logger()
_LEASE_S = 10.0
_RENEW_EVERY_S = 2.0
# So much earlier than the others this process takes its lease for over: clocks run differently.
_MARGIN_S = 2.0
# The term of whoever began to act, or ceased to, and did not get through with it.
_IN_PART = -1


class NotLeadingError(Exception):
    """Another receiver may be acting by now; this one must not."""


class Leads(Protocol):
    """Who may act. `write` opens a transaction in which an effect may be prepared."""

    @property
    def leading(self) -> bool: ...

    def start(self, lead: Callable[[], None], stand_down: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...

    def write(self) -> AbstractContextManager[Connection]: ...

    def check(self) -> None:
        """Asked right before an effect. Raises NotLeadingError."""


@dataclass
class Alone:
    """The only receiver there is, as a lock on its SQLite file ensures."""

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

    def write(self) -> AbstractContextManager[Connection]:
        return self.database.write()

    def check(self) -> None:
        """Nobody else acts."""


@dataclass
class Elected:
    """One of several on a PostgreSQL database; `name` is this process's own.

    `lead` and `stand_down` are called by one thread, in turn, and may take their time.
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
        following = threading.Thread(
            target=self._follow, args=(lead, stand_down), name="leadership", daemon=True
        )
        renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._threads = [renewing, following]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stand down, then let another one lead at once."""
        self._stopping.set()
        self._changed.set()
        for thread in reversed(self._threads):
            thread.join()
        self._resign()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction of the one that leads. Raises NotLeadingError."""
        with self.database.write() as connection:
            row = connection.execute(select(leadership)).one()
            if (row.holder, row.term) != (self.name, self._term) or _clock(connection) > row.until:
                raise NotLeadingError
            yield connection

    def check(self) -> None:
        if not self.leading:
            raise NotLeadingError

    def _renew(self) -> None:
        while True:
            asked = _now()
            try:
                held = self._claim()
            except SQLAlchemyError as error:
                # The lease runs out by itself.
                cause = type(getattr(error, "orig", None) or error).__name__
                _log.warning("lease_not_renewed", error=cause)
            else:
                self._until = asked + _LEASE_S - _MARGIN_S if held else 0.0
            self._changed.set()
            if self._stopping.wait(_RENEW_EVERY_S):
                return

    def _claim(self) -> bool:
        """Take the lease, or take it on; False while it is another one's."""
        with self.database.write() as connection:
            row, now = connection.execute(select(leadership)).one(), _clock(connection)
            over = now > row.until
            if not over and row.holder != self.name:
                return False
            term = row.term + 1 if over else row.term
            values = {"holder": self.name, "term": term, "until": now + _LEASE_S}
            connection.execute(update(leadership).values(values))
        self._term = term
        return True

    def _resign(self) -> None:
        self._until = 0.0
        mine = (leadership.c.holder == self.name, leadership.c.term == self._term)
        try:
            with self.database.write() as connection:
                connection.execute(update(leadership).where(*mine).values(until=0.0))
        except SQLAlchemyError as error:
            _log.warning("lease_not_given_up", error=type(error).__name__)

    def _follow(self, lead: Callable[[], None], stand_down: Callable[[], None]) -> None:
        """Begin to act, and cease to, as the lease comes and goes.

        What began in an earlier term, or only in part, ceases before it begins anew: another
        receiver may have acted in between, and left what only a beginning takes up.
        """
        acts_in: int | None = None
        while not self._stopping.is_set():
            if acts_in is None and self.leading:
                term = self._term
                _log.info("leads", term=term)
                acts_in = term if self._tried(lead) else _IN_PART
            elif acts_in is not None and not (self.leading and acts_in == self._term):
                _log.warning("stands_down", term=self._term)
                acts_in = None if self._tried(stand_down) else _IN_PART
            self._changed.wait(_RENEW_EVERY_S)
            self._changed.clear()
        if acts_in is not None:
            stand_down()

    def _tried(self, change: Callable[[], None]) -> bool:
        try:
            change()
        except Exception as error:  # noqa: BLE001 whatever it was, another receiver may do better
            _log.error("leadership_waits", error=type(error).__name__, exc_info=error)
            self._resign()
            return False
        return True


def _now() -> float:
    """Seconds of a clock that no freeze of this process, and no sleep of its machine, stops."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def _clock(connection: Connection) -> float:
    """The database's own time, which all receivers share, in epoch seconds."""
    return float(
        connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one()
    )


def leads(state: Database) -> Leads:
    """Who acts on these records: on a SQLite file its only process, else one of several."""
    if state.engine.dialect.name == "sqlite":
        return Alone(state)
    return Elected(state, f"{socket.gethostname()[:64]}/{os.getpid()}/{secrets.token_hex(4)}")
