"""Looks at a database that may hang: whoever asks hears so in time."""

from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from receiver.db.database import Database, fault
from receiver.runtime.pools import Pool

_AT_ONCE, _WITHIN_S = 4, 2.0


class Looks:
    def __init__(self) -> None:
        self._pool = Pool(_AT_ONCE, "look")

    def at(self, database: Database) -> str:
        """What is wrong with it, or `ok`."""
        try:
            self._pool.submit(database.look).result(_WITHIN_S)
        except SQLAlchemyError as error:
            return fault(error)
        except TimeoutError:
            return f"no answer within {_WITHIN_S:.0f} s"
        except RuntimeError:
            return "it is stopping"
        return "ok"

    def done(self, look: Callable[[], None]) -> bool:
        """Whether this was done in time."""
        try:
            self._pool.submit(look).result(_WITHIN_S)
        except (TimeoutError, RuntimeError):
            return False
        return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
