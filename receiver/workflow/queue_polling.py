"""How often DBOS asks the database: often while a phase is due soon, seldom while nothing is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from dbos import Queue
from sqlalchemy import bindparam, exists, select
from sqlalchemy.exc import SQLAlchemyError

from receiver.runtime.periodic import Periodic

_log = structlog.get_logger()
# Only delayed phases, and those of another receiver, wait for a poll, of about 4 ms of CPU time.
POLL_S, _IDLE_POLL_S = 0.25, 2.0
_SOON_S, _LATE_S = 60.0, 10.0
# A longer delay than `_SOON_S` ends up to so much later.
_IDLE_DELAYED_S = 5.0
# DBOS's status of a phase that no worker has taken yet.
_WAITS = "ENQUEUED"


@dataclass
class QueuePolling:
    """Polls the queue often while a phase is due soon; after a start also for what was left."""

    queue: Queue
    clock: Callable[[], float] = time.monotonic
    _every_s: float = field(default=POLL_S, init=False)
    _delayed_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._until = self.clock() + _SOON_S
        self.periodic = Periodic("queue_polling", 1.0, self.adapt)

    def expect(self, delay_s: float) -> None:
        if delay_s <= _SOON_S:
            self._until = max(self._until, self.clock() + delay_s + _LATE_S)

    def adapt(self) -> None:
        every_s = POLL_S if self.clock() < self._until else _IDLE_POLL_S
        try:
            if every_s != self._every_s:
                self.queue.set_polling_interval_sec(every_s)
                self._every_s = every_s
        except SQLAlchemyError as error:
            _log.warning("queue_polling_unchanged", error=type(error).__name__)

    def may_end_delays(self) -> bool:
        """Whether it is time to look for delays that have ended; it is asked once a second."""
        now = self.clock()
        if self._until <= now < self._delayed_at:
            return False
        self._delayed_at = now + _IDLE_DELAYED_S
        return True

    def calm(self, system: Any) -> None:
        """Leave out what DBOS's `SystemDatabase` asks for nothing.

        Once a second that is which queues there are, though nothing adds one; which workflows are
        past their deadline, though no phase has one; and, while none is due soon, which delays have
        ended. At each poll it is how the queue is set, which is known here, and which phase is
        next: whether there is one costs a fifth.
        """
        end_delays = system.transition_delayed_workflows

        def end_delays_if_due() -> None:
            if self.may_end_delays():
                end_delays()

        system.transition_delayed_workflows = end_delays_if_due
        system.cancel_timed_out_workflows = lambda _: []
        system.list_queues = lambda **_: [self.queue]
        read_queue = system.get_queue
        system.get_queue = lambda name, **options: (
            self.queue if name == self.queue.name else read_queue(name, **options)
        )
        table = system.tables.workflow_status
        waits = exists().where(table.c.queue_name == bindparam("queue"), table.c.status == _WAITS)
        is_waiting = select(waits)

        def scopes(name: str) -> Sequence[str | None]:
            with system.engine.connect() as connection:
                return [None] if connection.scalar(is_waiting, {"queue": name}) else []

        system.dequeue_scopes = scopes
