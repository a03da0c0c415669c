"""Values that several browsers ask for each few seconds, computed once for all of them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_T = TypeVar("_T")
# A value that takes long, as in a storm, is kept so many times longer than it took.
_TIMES_ITS_COST = 10.0


@dataclass(kw_only=True)
class Recent(Generic[_T]):
    """A computed value that is kept for `lasts_s` seconds, or longer. Thread-safe."""

    lasts_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _kept: tuple[float, _T] | None = field(default=None, init=False)

    def read(self, compute: Callable[[], _T]) -> _T:
        with self._lock:
            began = time.monotonic()
            if self._kept is not None and began < self._kept[0]:
                return self._kept[1]
            value = compute()
            ended = time.monotonic()
            self._kept = (ended + max(self.lasts_s, _TIMES_ITS_COST * (ended - began)), value)
            return value

    def forget(self) -> None:
        """Compute it again at the next call, because a person has changed it."""
        with self._lock:
            self._kept = None
