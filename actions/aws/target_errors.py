"""Errors of an act: its target does not exist, forbids it, or only a part of it was done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class NotActionableError(Exception):
    """The target does not exist, or its state does not allow the action; nothing was changed."""


class StillChangingError(NotActionableError):
    """AWS has not finished an earlier change of the target; afterwards its state may allow it."""


class TooEarlyError(StillChangingError):
    """The state allows it only after a while; nobody needs to help."""


class TargetGoneError(NotActionableError):
    """The target does not exist, or is no member of its group any more."""


class PartlyDoneError(Exception):
    """A part of an action was done; `error` is why another part was not."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def make_in_turn(*calls: Callable[[], object]) -> None:
    """Make the calls up to the first that fails.

    Raises its error, as PartlyDoneError where another call was made before it.
    """
    for made, call in enumerate(calls):
        try:
            call()
        except Exception as error:
            if made:
                raise PartlyDoneError(error) from error
            raise


@contextmanager
def require_complete(what: str) -> Iterator[None]:
    """Raises NotActionableError if AWS's answer lacks an attribute: none has a default."""
    try:
        yield
    except KeyError as missing:
        raise NotActionableError(f"AWS's answer about {what} lacks {missing}") from None
