"""Several calls to AWS, each of which is made whatever became of the others."""

from collections.abc import Callable


class Attempts:
    """Calls of which none stops the next; `error` is what the first one that failed raised."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except Exception as error:  # noqa: BLE001 raised by check, after the other calls
            self.error = self.error or error

    def check(self) -> None:
        """Raises the first error."""
        if self.error is not None:
            raise self.error
