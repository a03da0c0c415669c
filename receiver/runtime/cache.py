"""A dictionary of bounded size."""

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
_ENTRIES_MAX = 250


class BoundedCache(dict[_K, _V]):
    """Clears itself when a new key would exceed 250 entries; callers read again on a miss."""

    def __setitem__(self, key: _K, value: _V) -> None:
        if key not in self and len(self) >= _ENTRIES_MAX:
            self.clear()
        super().__setitem__(key, value)
