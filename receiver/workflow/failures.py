"""Remembers the runs whose decision failed, until they are decided again."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

# A run that was not decided on again for so long was ended by a person.
_GONE_S = 3600.0


@dataclass
class Failures:
    """Runs that rest after a failure: the threads of the pool share it, so each access locks.

    `monotonic` gives seconds.
    """

    monotonic: Callable[[], float]
    # By run: how often its decision failed, and until when it rests.
    _rests: dict[str, tuple[int, float]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def add(self, run_id: str) -> int:
        """Have the run rest, twice as long each time; how often its decision has failed."""
        with self._lock:
            tries = self._rests.get(run_id, (0, 0.0))[0] + 1
            self._rests[run_id] = (tries, self.monotonic() + 2.0**tries)
        return tries

    def rest(self, run_ids: Iterable[str], seconds: float) -> None:
        """Have runs rest whose decision did not fail."""
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
