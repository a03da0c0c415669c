"""The inbox: alerts on disk before they are acknowledged.

One writer drains a queue into the database, everything that waits in one transaction, and only
then are the callers told.
"""

import asyncio
import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from ulid import ULID

from receiver.db.database import Database, describe_error, is_connection_lost
from receiver.webhook import episodes
from receiver.webhook.episodes import Episode, Over, Waiting
from receiver.webhook.payload import Alert

_log = structlog.get_logger()
# So many deliveries within so many seconds are a storm; how long others let it pass, at most.
_MANY, _AT_ONCE_S = 50, 0.1
_GIVEN_WAY_S, _LOOK_S = 1.0, 0.02
# A database that restarts is waited for, for less time than Alertmanager waits for an answer.
_PATIENCE_S, _RETRY_S = 8.0, 0.2


class InboxUnavailableError(Exception):
    """The alerts could not be stored; the sender must keep them."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    accepted: int = 0
    duplicates: int = 0
    resolved: int = 0


_Waiter = Future[Receipt] | asyncio.Future[Receipt]
_Answer = Receipt | InboxUnavailableError


@dataclass(frozen=True)
class _Delivery:
    alerts: Sequence[Alert]
    at: float
    request_id: str
    done: _Waiter


@dataclass
class Inbox:
    """`gap_s`: the silence in seconds that closes an episode. `arrived` is called after commits.

    `backlog` bounds how many alerts may wait to be stored.
    """

    database: Database
    gap_s: float
    arrived: Callable[[], None]
    backlog: int = 200_000
    _queue: queue.SimpleQueue[_Delivery | Over | None] = field(
        default_factory=queue.SimpleQueue, init=False
    )
    _waiting: int = field(default=0, init=False)
    # Counted by those who submit and by the writer: a count that drifts refuses, or bounds nothing.
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _came: deque[float] = field(default_factory=lambda: deque(maxlen=_MANY), init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._drain, name="inbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Store what waits, then end."""
        if self._thread is not None:
            with self._counting:
                # The last of the queue: what comes after it would be read by nobody.
                self._stopping = True
                self._queue.put(None)
            self._thread.join()
            self._thread = None

    def let_pass(self, most_s: float = _GIVEN_WAY_S) -> None:
        """While deliveries storm in, wait, at most so long: what is not on disk yet comes first."""
        until = time.monotonic() + most_s
        while time.monotonic() < until and self._storming():
            time.sleep(_LOOK_S)

    def _storming(self) -> bool:
        came = self._came
        return len(came) == _MANY and time.monotonic() - came[0] < _AT_ONCE_S

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    async def store(self, alerts: Sequence[Alert], now: float, *, request_id: str = "") -> Receipt:
        """The receipt once the alerts are on disk.

        Raises InboxUnavailableError where they could not be stored, or too many wait already.
        """
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._put(_Delivery(alerts, now, request_id, done))
        return await done

    def submit(self, alerts: Sequence[Alert], now: float) -> Future[Receipt]:
        """The same for threads: the future raises, as does this call where too many wait."""
        done: Future[Receipt] = Future()
        self._put(_Delivery(alerts, now, "", done))
        return done

    def _put(self, delivery: _Delivery) -> None:
        with self._counting:
            if self._stopping or not self.alive:
                raise InboxUnavailableError("nobody stores what comes")
            if self._waiting + len(delivery.alerts) > self.backlog:
                raise InboxUnavailableError("the backlog is full")
            self._waiting += len(delivery.alerts)
            self._queue.put(delivery)
        self._came.append(time.monotonic())

    def end(self, *over: Over) -> None:
        """Note that runs ended; done soon, and again by `Assessor.reconcile` after a crash."""
        for one in over:
            self._queue.put(one)

    def _drain(self) -> None:
        going = True
        while going:
            items = [self._queue.get()]
            while not self._queue.empty():
                items.append(self._queue.get())
            going = None not in items
            try:
                self._commit([item for item in items if item is not None])
            except Exception as error:  # noqa: BLE001 without this thread nothing is taken any more
                _log.error("inbox_broke", error=type(error).__name__, exc_info=error)

    def _commit(self, items: Sequence[_Delivery | Over]) -> None:
        deliveries = [item for item in items if isinstance(item, _Delivery)]
        with self._counting:
            self._waiting -= sum(len(delivery.alerts) for delivery in deliveries)
        try:
            receipts = self._patiently(
                deliveries, [item for item in items if isinstance(item, Over)]
            )
        except Exception as error:  # noqa: BLE001 without this thread nothing is taken any more
            said = f"not stored: {type(error).__name__}"
            if isinstance(error, SQLAlchemyError):
                said = f"not stored: {describe_error(error)}"
            else:
                _log.error("inbox_broke", error=type(error).__name__, exc_info=error)
            _answer(deliveries, [InboxUnavailableError(said) for _ in deliveries])
            return
        _answer(deliveries, receipts)
        if deliveries:
            _tell(deliveries, receipts)
        if any(receipt.accepted for receipt in receipts):
            self.arrived()

    def _patiently(
        self, deliveries: Sequence[_Delivery], over: Sequence[Over]
    ) -> Sequence[Receipt]:
        """What was stored before the answer got lost is a repeat the second time."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with self.database.write() as connection:
                    episodes.end(connection, over)
                    return self._store(connection, deliveries)
            except SQLAlchemyError as error:
                if not is_connection_lost(error) or time.monotonic() > until:
                    raise
            time.sleep(_RETRY_S)

    def _store(self, connection: Connection, deliveries: Sequence[_Delivery]) -> Sequence[Receipt]:
        keys = {alert.key for delivery in deliveries for alert in delivery.alerts}
        known = episodes.known(connection, sorted(keys)) if keys else {}
        before = dict(known)
        opened: list[Waiting] = []
        receipts = [self._sort(delivery, known, opened) for delivery in deliveries]
        changed = [one for key, one in known.items() if before.get(key) is not one]
        episodes.keep(connection, changed, opened)
        return receipts

    def _sort(
        self, delivery: _Delivery, known: dict[str, Episode], opened: list[Waiting]
    ) -> Receipt:
        accepted = duplicates = resolved = 0
        for alert in delivery.alerts:
            episode = known.get(alert.key)
            is_open = episode is not None and not episode.closed(
                alert.starts_at, delivery.at, self.gap_s
            )
            if not alert.firing:
                resolved += 1
                # A resolve older than the newest firing copy is a late one of another sender.
                if episode and (alert.ends_at is None or alert.ends_at >= episode.starts_at):
                    known[alert.key] = replace(episode, resolved_at=delivery.at)
            elif episode is not None and is_open:
                duplicates += 1
                known[alert.key] = replace(
                    episode,
                    starts_at=max(episode.starts_at, alert.starts_at),
                    last_seen_at=delivery.at,
                    repeats=episode.repeats + 1,
                    resolved_at=None,
                )
            else:
                accepted += 1
                waiting = Waiting(id=str(ULID()), received_at=delivery.at, alert=alert)
                opened.append(waiting)
                known[alert.key] = Episode(
                    key=alert.key,
                    run_id=waiting.id,
                    starts_at=alert.starts_at,
                    last_seen_at=delivery.at,
                )
        return Receipt(accepted=accepted, duplicates=duplicates, resolved=resolved)

    def waiting(self, limit: int = 1000) -> Sequence[Waiting]:
        """Alerts that are not runs yet, the most severe first, then the oldest."""
        with self.database.read() as connection:
            return episodes.waiting(connection, limit)

    def waiting_among(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of the alerts that are not runs yet."""
        with self.database.read() as connection:
            return episodes.waiting_among(connection, ids)

    def untaken(self) -> int:
        """How many alerts are not runs yet."""
        with self.database.read() as connection:
            return episodes.untaken(connection)

    def taken(self, ids: Sequence[str]) -> None:
        """Forget alerts that are runs now."""
        with self.database.write() as connection:
            episodes.forget(connection, ids)

    def of_runs(self, run_ids: Sequence[str]) -> Mapping[str, Episode]:
        """Episodes by run id."""
        with self.database.read() as connection:
            return episodes.of_runs(connection, run_ids)

    def resolved(self, run_ids: Sequence[str]) -> frozenset[str]:
        """Those of the runs whose alerts are over."""
        with self.database.read() as connection:
            return episodes.resolved(connection, run_ids)

    def unended(self, limit: int = 1000) -> Sequence[str]:
        """Runs whose end was not noted yet, oldest first."""
        with self.database.read() as connection:
            return episodes.unended(connection, limit)


def _answer(deliveries: Sequence[_Delivery], answers: Iterable[_Answer]) -> None:
    """Tell whoever waits; on an event loop all at once: to wake it up for each costs a delivery."""
    loops: defaultdict[asyncio.AbstractEventLoop, list[tuple[_Waiter, _Answer]]] = defaultdict(list)
    for delivery, answer in zip(deliveries, answers, strict=True):
        if isinstance(delivery.done, asyncio.Future):
            loops[delivery.done.get_loop()].append((delivery.done, answer))
        elif delivery.done.set_running_or_notify_cancel():
            _settle([(delivery.done, answer)])
    for loop, some in loops.items():
        # It may have ended meanwhile, and those who waited with it.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, some)


def _settle(some: Sequence[tuple[_Waiter, _Answer]]) -> None:
    for done, answer in some:
        # A caller that was cut off has cancelled; its alerts are stored all the same.
        if done.done():
            continue
        if isinstance(answer, Receipt):
            done.set_result(answer)
        else:
            done.set_exception(answer)


def _tell(deliveries: Sequence[_Delivery], receipts: Sequence[Receipt]) -> None:
    """One line for all that was stored together: a line each would cost more than the storing."""
    _log.info(
        "deliveries_taken",
        request_ids=[one.request_id for one in deliveries if one.request_id],
        accepted=sum(one.accepted for one in receipts),
        duplicates=sum(one.duplicates for one in receipts),
        resolved=sum(one.resolved for one in receipts),
    )
