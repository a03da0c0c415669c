"""Something that is done again and again beside all else, until it is stopped."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Beat:
    """A thread that calls `do` every `every_s`, `at_once` or after the first wait.

    `do` raises nothing; where it takes long it looks at `stopping`. Whoever stops waits for it for
    up to `patience_s`.
    """

    name: str
    every_s: float
    do: Callable[[], None]
    at_once: bool = False
    patience_s: float = 5.0
    stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        # One that did not end in time goes by its own, and ends all the same.
        self.stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._loop, args=(self.stopping,), name=self.name, daemon=True
        )
        self._thread.start()

    def stop(self) -> bool:
        """Whether it went."""
        self.stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(self.patience_s)
        return thread is not None

    def _loop(self, stopping: threading.Event) -> None:
        if self.at_once:
            self.do()
        while not stopping.wait(self.every_s):
            self.do()
