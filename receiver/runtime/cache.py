"""What was read lately, in bounded memory."""

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
_MOST = 250


class Memory(dict[_K, _V]):
    """One too many makes it forget all others: what is not remembered is read again."""

    def __setitem__(self, key: _K, value: _V) -> None:
        if key not in self and len(self) >= _MOST:
            self.clear()
        super().__setitem__(key, value)
