"""Several calls to AWS, each of which is made whatever became of the others."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from actions.aws.errors import AWS_ERRORS


class Attempts:
    """Calls of which none stops the next; `error` is what the first one that failed raised."""

    def __init__(self) -> None:
        self.error: ClientError | BotoCoreError | None = None

    def __call__(self, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except AWS_ERRORS as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raises the first error."""
        if self.error is not None:
            raise self.error
