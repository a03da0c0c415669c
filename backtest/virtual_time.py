"""What lets a receiver run in virtual time: its threads and its queue wait for the caller."""

import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from receiver.workflow.durable_queue import DurableQueue, Phase


class AtOnce(futures.Executor):
    """Runs what it is given right away, as a thread pool of the service."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        future: futures.Future[Any] = futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 as an executor does
            future.set_exception(error)
        return future


@dataclass
class HeldQueue(DurableQueue):
    """A durable queue without DBOS: phases wait until they are due, also over a crash."""

    url: str = ""
    workers: int = 0
    handle: Callable[[Phase], None] = lambda _: None
    clock: Callable[[], float] = time.time
    waiting: dict[str, tuple[float, Phase]] = field(default_factory=dict)

    def serve(self, url: str, workers: int, handle: Callable[[Phase], None]) -> "HeldQueue":
        """Serve the service that is built next; the phases outlive a crash."""
        self.url, self.workers, self.handle = url, workers, handle
        return self

    def enqueue(self, connection: Connection, phase: Phase, *, delay_s: float = 0) -> None:
        del connection
        self.waiting.setdefault(phase.id, (self.clock() + delay_s, phase))

    def begin(self, connection: Connection, phase: Phase) -> Callable[[], object]:
        """The caller runs the phase when it wants to."""
        self.enqueue(connection, phase)
        return lambda: None

    def due(self) -> Phase | None:
        """A phase that is due; it waits on until it is `done`."""
        ready = [(at, key) for key, (at, _) in self.waiting.items() if at <= self.clock()]
        return self.waiting[min(ready)[1]][1] if ready else None

    def done(self, phase: Phase) -> None:
        del self.waiting[phase.id]
