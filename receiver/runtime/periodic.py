"""A background thread that calls one function at an interval."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Periodic:
    """A thread that calls `tick` every `every_s`, first at once or after one interval.

    `tick` raises nothing; a long one returns early once `stopping` is set. `stop` waits for it for
    up to `stop_wait_s`.
    """

    name: str
    every_s: float
    tick: Callable[[], None]
    at_once: bool = False
    stop_wait_s: float = 5.0
    stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        # Each thread has its own event, so that one that outlives `stop_wait_s` ends despite this
        # start.
        self.stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._loop, args=(self.stopping,), name=self.name, daemon=True
        )
        self._thread.start()

    def stop(self) -> bool:
        """Stop the thread; False where none was started."""
        self.stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(self.stop_wait_s)
        return thread is not None

    def _loop(self, stopping: threading.Event) -> None:
        if self.at_once:
            self.tick()
        while not stopping.wait(self.every_s):
            self.tick()
