"""Dictionaries of bounded size."""

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
_ENTRIES_MAX = 250
_LASTS_S = 1.0


class BoundedCache(dict[_K, _V]):
    """Clears itself when a new key would exceed 250 entries; callers read again on a miss."""

    def __setitem__(self, key: _K, value: _V) -> None:
        if key not in self and len(self) >= _ENTRIES_MAX:
            self.clear()
        super().__setitem__(key, value)


class JustRead(BoundedCache[_K, tuple[float, _V]]):
    """Values that serve once, and within a second of the time at which their query began."""

    def keep(self, key: _K, value: _V | None, at: float) -> None:
        """None forgets the former value, because the newer query had no answer."""
        if value is None:
            self.pop(key, None)
        else:
            self[key] = (at, value)

    def take(self, key: _K, now: float) -> _V | None:
        at, value = self.pop(key, (now, None))
        return value if now - at < _LASTS_S else None
