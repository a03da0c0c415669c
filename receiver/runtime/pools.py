"""Thread pools whose log lines keep the submitter's run id."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool(ThreadPoolExecutor):
    """A thread pool that runs work in a copy of the submitter's context."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        return super().submit(copy_context().run, partial(fn, *args, **kwargs))


@dataclass(eq=False)
class PoolShare(Executor):
    """At most `most` threads of a pool at once; the rest of its work waits here, in order.

    So work that hangs, or comes in masses, leaves the other threads to others.
    """

    pool: Executor
    most: int
    _waiting: deque[tuple[Future[Any], Callable[[], Any]]] = field(
        default_factory=deque, init=False
    )
    _running: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()
        # The context is the submitter's, also where another thread hands the work over.
        work = partial(copy_context().run, partial(fn, *args, **kwargs))
        with self._lock:
            self._waiting.append((future, work))
        self._hand_over()
        return future

    def _hand_over(self) -> None:
        with self._lock:
            if self._running >= self.most or not self._waiting:
                return
            self._running += 1
            future, work = self._waiting.popleft()
        try:
            self.pool.submit(self._run, future, work)
        except RuntimeError as error:
            # The service is stopping.
            future.set_exception(error)

    def _run(self, future: Future[Any], work: Callable[[], Any]) -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 its submitter raises it
                future.set_exception(error)
        with self._lock:
            self._running -= 1
        self._hand_over()
