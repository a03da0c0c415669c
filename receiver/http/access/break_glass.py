"""Uses of break-glass tokens, on record: they bypass the identity provider."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from actions.audit import log
from receiver.db.database import Database
from receiver.http.access.callers import Caller

_logger = structlog.get_logger()
# A person's calls within this time are one use.
_ONE_USE_S = 900.0


@dataclass(kw_only=True)
class BreakGlass:
    """`clock` gives epoch seconds. Another receiver records a use of its own."""

    database: Database
    clock: Callable[[], float]
    _used: dict[str, float] = field(default_factory=dict)

    def record(self, who: Caller) -> None:
        """Record the use, before anything is done with it; raises the database's error.

        The names are those of tokens in the file, so that they are few.
        """
        now = self.clock()
        if now - self._used.get(who.token_sha256, -_ONE_USE_S) < _ONE_USE_S:
            return
        event = log.Event(
            actor=who.name,
            event="break_glass_used",
            detail={"person": who.person, "role": str(who.role)},
        )
        with self.database.write() as connection:
            log.append(connection, now, event)
        self._used[who.token_sha256] = now
        _logger.warning("break_glass_used", name=who.name, person=who.person)
