"""Thread pools whose log lines keep the submitter's run id."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool(ThreadPoolExecutor):
    """A thread pool that runs work in a copy of the submitter's context."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        return super().submit(copy_context().run, partial(fn, *args, **kwargs))
