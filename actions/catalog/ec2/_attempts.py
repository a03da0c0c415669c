"""Several calls to AWS, each of which is made whatever became of the others."""

from collections.abc import Callable

from actions.aws.target_errors import PartlyDoneError


class Attempts:
    """Calls of which none stops the next.

    `error` is what the first one that failed raised; an attempt that changed something returns
    something true.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._changed = False

    def __call__(self, attempt: Callable[[], object]) -> bool:
        """Whether it raised nothing."""
        try:
            self._changed |= bool(attempt())
        except Exception as error:  # noqa: BLE001 raised by check, after the other calls
            self.error = self.error or error
            return False
        return True

    def check(self) -> None:
        """Raises the first error, as PartlyDoneError where another call changed something."""
        if self.error is not None and self._changed:
            raise PartlyDoneError(self.error)
        if self.error is not None:
            raise self.error
