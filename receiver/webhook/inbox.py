"""The inbox, which stores alerts on disk before they are acknowledged.

One writer stores all waiting deliveries in one transaction, and answers their senders after the
commit.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver.db.database import (
    Database,
    KeptConnection,
    describe_error,
    is_connection_lost,
)
from receiver.webhook import episodes
from receiver.webhook.delivery import (
    Delivery,
    InboxUnavailableError,
    Pace,
    Receipt,
    answer,
    apply,
    log_stored,
    refuse,
)
from receiver.webhook.episodes import Episode, QueuedAlert, RunEnded
from receiver.webhook.payload import Alert

_logger = structlog.get_logger()
# This many deliveries within these seconds are a storm: one sender that waits for each answer makes
# twice as many.
_STORM, _STORM_S = 10, 0.1
# In a storm other work has the last part of each period, and checks at this interval for its end.
_PERIOD_S, _YIELD_S, _CHECK_S = 1.25, 1.0, 0.02
# The writer waits this long for a restarting database: less than Alertmanager waits for an answer.
_RECONNECT_S, _RETRY_S = 8.0, 0.2


@dataclass
class Inbox:
    """The inbox; a silence of `gap_s` seconds closes an episode, `backlog` alerts may wait.

    `arrived` is called after each commit with new alerts.
    """

    database: Database
    gap_s: float
    arrived: Callable[[], None]
    backlog: int = 200_000
    _queue: queue.SimpleQueue[Delivery | RunEnded | None] = field(
        default_factory=queue.SimpleQueue, init=False
    )
    _waiting: int = field(default=0, init=False)
    # Guards the count, which senders and the writer change.
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _delivered_at: deque[float] = field(default_factory=lambda: deque(maxlen=_STORM), init=False)
    _pace: Pace = field(default_factory=Pace, init=False)
    _known: Mapping[str, QueuedAlert] = field(default_factory=dict, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._drain, name="inbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Store all queued deliveries, then end."""
        if self._thread is not None:
            with self._counting:
                # The last item of the queue, at which the writer ends.
                self._stopping = True
                self._queue.put(None)
            self._thread.join()
            self._thread = None

    def yield_to_deliveries(self) -> None:
        """Wait up to a second in a storm of deliveries, because their storing has priority.

        A storm that lasts leaves a fifth of the time to others.
        """
        while self._storming() and time.monotonic() % _PERIOD_S < _YIELD_S:
            time.sleep(_CHECK_S)

    def _storming(self) -> bool:
        times = self._delivered_at
        return len(times) == _STORM and time.monotonic() - times[0] < _STORM_S

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    async def store(self, alerts: Sequence[Alert], now: float, *, request_id: str = "") -> Receipt:
        """Returns the receipt once the alerts are on disk.

        Raises InboxUnavailableError if they could not be stored, or if too many alerts wait.
        """
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._put(Delivery(alerts, now, request_id, receipt))
        return await receipt

    def submit(self, alerts: Sequence[Alert], now: float) -> Future[Receipt]:
        """As `store`, for threads.

        If too many alerts wait, the call itself raises; any other error is raised by the future.
        """
        receipt: Future[Receipt] = Future()
        self._put(Delivery(alerts, now, "", receipt))
        return receipt

    def _put(self, delivery: Delivery) -> None:
        with self._counting:
            if self._stopping or not self.alive:
                raise InboxUnavailableError("the inbox writer is not running")
            if self._waiting + len(delivery.alerts) > self.backlog:
                raise InboxUnavailableError("the backlog of the inbox is full")
            self._waiting += len(delivery.alerts)
            self._queue.put(delivery)
        self._delivered_at.append(time.monotonic())

    def record_end(self, *ended: RunEnded) -> None:
        """Queue the ends of runs for their episodes; after a crash `RunCloser` repeats it."""
        for run in ended:
            self._queue.put(run)

    def _drain(self) -> None:
        running = True
        with closing(KeptConnection(self.database.engine)) as kept:
            while running:
                items = [self._queue.get()]
                while not self._queue.empty():
                    items.append(self._queue.get())
                running = None not in items
                try:
                    self._commit([item for item in items if item is not None], kept)
                except Exception:
                    # The thread continues, because without it no delivery would be stored.
                    _logger.exception("inbox_write_failed")

    def _commit(self, items: Sequence[Delivery | RunEnded], kept: KeptConnection) -> None:
        deliveries = [item for item in items if isinstance(item, Delivery)]
        with self._counting:
            self._waiting -= sum(len(delivery.alerts) for delivery in deliveries)
        try:
            ended = [item for item in items if isinstance(item, RunEnded)]
            receipts = self._store_all(deliveries, ended, kept)
        except SQLAlchemyError as error:
            refuse(deliveries, describe_error(error))
            return
        except Exception as error:
            _logger.exception("inbox_write_failed")
            refuse(deliveries, type(error).__name__)
            return
        answer(deliveries, receipts)
        # Senders first: their thread needs the interpreter.
        time.sleep(0)
        log_stored(deliveries, receipts)
        if any(receipt.accepted for receipt in receipts):
            self.arrived()

    def _store_all(
        self, deliveries: Sequence[Delivery], ended: Sequence[RunEnded], kept: KeptConnection
    ) -> Sequence[Receipt]:
        """Store all in one transaction, retried while the connection is lost.

        If a commit succeeded but its answer was lost, the retry counts the alerts as repeats.
        """
        until = time.monotonic() + _RECONNECT_S
        keys = sorted({alert.key for delivery in deliveries for alert in delivery.alerts})
        postgresql = self.database.engine.dialect.name == "postgresql"
        first = episodes.query_of(keys) if postgresql and not ended else None
        while True:
            try:
                # Ends that are lost are reported again (`RunCloser`).
                synced = bool(deliveries)
                with self.database.write(synced=synced, first=first, kept=kept) as connection:
                    episodes.end_runs(connection, ended)
                    stored = (
                        episodes.by_keys(connection, keys)
                        if first is None
                        else episodes.from_rows(connection.info["first"])
                    )
                    return self._store(connection, deliveries, stored)
            except SQLAlchemyError as error:
                if not is_connection_lost(error) or time.monotonic() > until:
                    raise
            time.sleep(_RETRY_S)

    def _store(
        self,
        connection: Connection,
        deliveries: Sequence[Delivery],
        stored: Mapping[str, Episode],
    ) -> Sequence[Receipt]:
        current = dict(stored)
        opened: list[QueuedAlert] = []
        receipts = [
            apply(delivery, current, opened, self.gap_s, self._pace) for delivery in deliveries
        ]
        changed = [episode for key, episode in current.items() if stored.get(key) is not episode]
        episodes.save(connection, changed, opened)
        return receipts

    def queued(self, limit: int = 1000) -> Sequence[QueuedAlert]:
        """Alerts without a run yet, the most severe first, then the oldest; for one thread.

        Of a storm each alert is read once, not each time until it is taken.
        """
        with self.database.read() as connection:
            alerts = episodes.queued(connection, limit, self._known)
        self._known = {alert.id: alert for alert in alerts}
        return alerts

    def queued_alert(self, run_id: str) -> QueuedAlert | None:
        """The alert that will become this run."""
        with self.database.ask() as connection:
            return episodes.queued_alert(connection, run_id)

    def still_queued(self, ids: Sequence[str]) -> frozenset[str]:
        """The ids among these whose alerts have no run yet."""
        with self.database.ask() as connection:
            return episodes.still_queued(connection, ids)

    def count_queued(self) -> int:
        with self.database.ask() as connection:
            return episodes.count_queued(connection)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove alerts that have a run now.

        The next delivery waits for no disk: an alert that returns after a loss of power gets no
        second run.
        """
        with self.database.write(synced=False) as connection:
            episodes.remove(connection, ids)

    def episodes_of(self, run_ids: Sequence[str]) -> Mapping[str, Episode]:
        """Episodes by the id of their run."""
        with self.database.ask() as connection:
            return episodes.by_runs(connection, run_ids)

    def episodes_by_key(self, keys: Sequence[str]) -> Mapping[str, Episode]:
        """Episodes by the key of their alert."""
        with self.database.ask() as connection:
            return episodes.by_keys(connection, keys)

    def resolved(self, run_ids: Sequence[str]) -> frozenset[str]:
        """The runs among these whose alerts are resolved."""
        with self.database.ask() as connection:
            return episodes.resolved(connection, run_ids)

    def runs_without_end(self, limit: int = 1000) -> Sequence[str]:
        """Runs whose end is not recorded here, oldest first."""
        with self.database.ask() as connection:
            return episodes.runs_without_end(connection, limit)
