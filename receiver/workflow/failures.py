"""Remembers the runs whose decision failed, until they are decided again."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

# Seconds after its rest for which a run is remembered; if it was not decided by then, a person
# ended it.
_GONE_S = 3600.0


@dataclass
class Failures:
    """Runs that rest after a failure. Threads share the object, so each access takes the lock.

    `monotonic` gives seconds.
    """

    monotonic: Callable[[], float]
    # By run, the number of its failed decisions and the end of its rest.
    _rests: dict[str, tuple[int, float]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def add(self, run_id: str) -> int:
        """Let the run rest, twice as long each time. Returns the number of its failed decisions."""
        with self._lock:
            tries = self._rests.get(run_id, (0, 0.0))[0] + 1
            self._rests[run_id] = (tries, self.monotonic() + 2.0**tries)
        return tries

    def rest(self, run_ids: Iterable[str], seconds: float) -> None:
        """Let runs rest without a failed decision."""
        with self._lock:
            self._rests |= dict.fromkeys(run_ids, (0, self.monotonic() + seconds))

    def has(self, run_id: str) -> bool:
        """Whether the run's last decision failed."""
        with self._lock:
            return self._rests.get(run_id, (0, 0.0))[0] > 0

    def forget(self, run_id: str) -> None:
        with self._lock:
            self._rests.pop(run_id, None)

    def resting(self) -> Sequence[str]:
        with self._lock:
            now = self.monotonic()
            kept = {run_id: rest for run_id, rest in self._rests.items() if rest[1] > now - _GONE_S}
            self._rests = kept
            return [run_id for run_id, (_, until) in kept.items() if until > now]
