"""Several calls to AWS, each of which is made whatever became of the others."""

from collections.abc import Callable


def aws_errors() -> tuple[type[Exception], ...]:
    """The errors of a call, loaded with it: deciding loads the catalogue, and no client."""
    from actions.aws.errors import AWS_ERRORS  # noqa: PLC0415 a decision loads no botocore

    return AWS_ERRORS


class Attempts:
    """Calls of which none stops the next; `error` is what the first one that failed raised."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except aws_errors() as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raises the first error."""
        if self.error is not None:
            raise self.error
