"""Health probes of a database that may hang, each bounded in time."""

from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from receiver.db.database import describe_error
from receiver.runtime.pools import Pool

_THREADS, _TIMEOUT_S = 4, 2.0


class Probes:
    """Runs probes in its own threads, so that a hanging probe blocks no caller."""

    def __init__(self) -> None:
        self._pool = Pool(_THREADS, "probe")

    def probe(self, check: Callable[[], str | None]) -> str:
        """Returns `ok`, or a short text about the failure: what the check returns or raises."""
        try:
            return self._pool.submit(check).result(_TIMEOUT_S) or "ok"
        except SQLAlchemyError as error:
            return describe_error(error)
        except TimeoutError:
            return f"no answer within {_TIMEOUT_S:.0f} s"
        except RuntimeError:
            return "the service is stopping"

    def within(self, call: Callable[[], None]) -> bool:
        """Whether the call returned within the timeout."""
        try:
            self._pool.submit(call).result(_TIMEOUT_S)
        except (TimeoutError, RuntimeError):
            return False
        return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
