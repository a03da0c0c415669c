"""Errors about a target: it does not exist, forbids the action, or AWS's answer is incomplete."""

from collections.abc import Iterator
from contextlib import contextmanager


class NotActionableError(Exception):
    """The target does not exist, or its state does not allow the action; nothing was changed."""


class StillChangingError(NotActionableError):
    """AWS has not finished an earlier change of the target; afterwards its state may allow it."""


class TargetGoneError(NotActionableError):
    """The target does not exist, or is no member of its group any more."""


@contextmanager
def require_complete(what: str) -> Iterator[None]:
    """Raises NotActionableError if AWS's answer lacks an attribute: none has a default."""
    try:
        yield
    except KeyError as missing:
        raise NotActionableError(f"AWS's answer about {what} lacks {missing}") from None
