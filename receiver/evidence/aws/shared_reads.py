"""Reads that several decisions share: one call for a handful of targets, one look for a region.

EC2 refills 20 calls of an operation a second, CloudTrail answers two; both count all callers in one
region of an account.
https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(eq=False)
class _Batch(Generic[_K, _V]):
    keys: list[_K] = field(default_factory=list)
    answers: Mapping[_K, _V] = field(default_factory=dict)
    error: Exception | None = None
    done: bool = False


@dataclass(eq=False)
class BatchedRead(Generic[_K, _V]):
    """Reads by key. What is asked for while a call is under way goes into the next one, together.

    So an answer is never older than its question, and a single question does not wait.
    `read_many` reads at most `most` keys; those that do not exist are left out.
    """

    read_many: Callable[[Sequence[_K]], Mapping[_K, _V]]
    most: int = 100
    _next: _Batch[_K, _V] = field(default_factory=_Batch, init=False)
    _busy: bool = field(default=False, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)

    @property
    def waiting(self) -> int:
        """How many keys the next call will have."""
        return len(self._next.keys)

    def read(self, key: _K) -> _V | None:
        """None where it does not exist. Raises what `read_many` raised."""
        with self._changed:
            while len(self._next.keys) >= self.most:
                self._changed.wait()
            batch = self._next
            if key not in batch.keys:
                batch.keys.append(key)
            while not batch.done and (self._busy or batch is not self._next):
                self._changed.wait()
            if not batch.done:
                self._busy, self._next = True, _Batch()
        if not batch.done:
            self._call(batch)
        if batch.error is not None:
            raise batch.error
        return batch.answers.get(key)

    def _call(self, batch: _Batch[_K, _V]) -> None:
        try:
            batch.answers = self.read_many(batch.keys)
        except Exception as error:  # noqa: BLE001 each of those who wait raises it
            batch.error = error
        finally:
            with self._changed:
                batch.done, self._busy = True, False
                self._changed.notify_all()


@dataclass(eq=False)
class KeptRead(Generic[_V]):
    """One answer for everybody, kept for `lasts_s` from its question on; None is not kept.

    Those who ask while it is read get the same answer, also where there is none.
    """

    read: Callable[[float], _V | None]
    lasts_s: float
    _kept: tuple[float, _V] | None = field(default=None, init=False)
    _reads: int = field(default=0, init=False)
    _last: _V | None = field(default=None, init=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)

    def get(self, now: float) -> _V | None:
        """The answer at `now` (epoch seconds)."""
        before = self._reads
        with self._turn:
            kept = self._kept
            if kept is not None and 0 <= now - kept[0] < self.lasts_s:
                return kept[1]
            if self._reads > before:
                # It was read, without an answer, while this thread waited for its turn.
                return self._last
            self._last = self.read(now)
            self._reads += 1
            self._kept = None if self._last is None else (now, self._last)
            return self._last

    def age_s(self, now: float) -> float | None:
        """Seconds since the question whose answer is kept."""
        return None if self._kept is None else now - self._kept[0]
