"""Sends notifications of the outbox, deduplicated and limited to a rate that people can read.

Each is sent at least once: a crash between the sending and its record repeats it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from receiver.audit.tail import Record
from receiver.db.database import Database
from receiver.http.access.rate_limit import RateLimiter
from receiver.notify import outbox
from receiver.notify.messages import kind_of, make_message
from receiver.notify.metrics import NotifyMetrics
from receiver.notify.outbox import StoredMessage
from receiver.notify.recipients import Delivery
from receiver.runs import store
from receiver.runtime.rfc3339 import rfc3339

_log = structlog.get_logger()
# Recipients with this tag get every notification.
ALL = "events"
# Only the first of equal messages within this time is sent; a summary follows.
_DEDUPLICATE_S = 300.0
# How often the first message that was held back is looked at.
_LOOK_EVERY_S = 10.0
# A message that did not reach everybody is sent again to the others, and counted as failed once.
_BACKOFF_S, _BACKOFF_MAX_S, _FAILED_AFTER = 2.0, 600.0, 3
# A message that is sent later than this states the time of its event.
_LATE_S = 600.0
_BATCH, _SUMMARY_MAX = 50, 10_000
_BUCKET = "all"
# People can read 20 notifications a minute; a chat service accepts one a second.
_PER_MINUTE = 20


@dataclass
class Notifier:
    """Sends messages; not thread-safe.

    `announce(tags, title, text, reached)` sends to all but `reached`.

    `public_url` is the console's address for links; `clock` gives epoch seconds.
    """

    database: Database
    announce: Callable[[Sequence[str], str, str, Collection[str]], Delivery]
    metrics: NotifyMetrics
    public_url: str | None
    clock: Callable[[], float]
    per_minute: int = _PER_MINUTE
    _summary_at: float = field(default=0.0, init=False)
    _looks_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._bucket = RateLimiter(
            per_s=self.per_minute / 60, burst=float(self.per_minute), clock=self.clock
        )

    def on_record(self, connection: Connection, record: Record) -> None:
        """Store the message about the record, if it needs one."""
        if self.clock() - record.at > outbox.AGE_MAX_S or kind_of(record) is None:
            return
        run = store.get_at_work(connection, record.run_id) if record.run_id else None
        message = make_message(record, run, self.public_url)
        if message is not None:
            outbox.add(connection, message, record.at)

    def on_idle(self) -> None:
        """Send due messages, and at most every 5 minutes a summary of those held back."""
        now = self.clock()
        with self.database.ask() as connection:
            due = outbox.due(connection, now, _BATCH)
            sent = outbox.sent_keys(connection, now - _DEDUPLICATE_S) if due else set()
            # All that is held may be a long read: it is made when the summary is due.
            held = outbox.held(connection, _SUMMARY_MAX) if self._is_summary_due(connection) else ()
        repeats = []
        for message in due:
            again = message.same_as in sent and not message.attempts
            if again or self._bucket.wait_s(_BUCKET):
                repeats.append(message)
            elif self._send(message, now):
                sent.add(message.same_as)
        if repeats:
            with self.database.write() as connection:
                outbox.hold(connection, [message.id for message in repeats])
            for message in repeats:
                self.metrics.notifications.labels(message.kind, "left_out").inc()
        if held:
            self._summarise(held, now)

    def _is_summary_due(self, connection: Connection) -> bool:
        now = self.clock()
        if now < max(self._summary_at, self._looks_at):
            return False
        oldest = outbox.oldest_held_at(connection)
        if oldest is not None and now - oldest >= _DEDUPLICATE_S:
            return True
        self._looks_at = now + _LOOK_EVERY_S
        return False

    def _send(self, message: StoredMessage, now: float) -> bool:
        text = message.text
        if now - message.created_at > _LATE_S:
            text = f"{text}\nThis happened at {rfc3339(message.created_at)}."
        tags = [str(message.kind), ALL]
        delivery = self.announce(tags, message.title, text, message.reached)
        if not delivery.failures:
            with self.database.write() as connection:
                outbox.mark_sent(connection, [message.id], now)
            self.metrics.notifications.labels(message.kind, "sent").inc()
            return True
        attempt = message.attempts + 1
        _log.error("notification_failed", tags=tags, reason=delivery.failures, attempt=attempt)
        if attempt == _FAILED_AFTER:
            self.metrics.notifications.labels(message.kind, "failed").inc()
        later = now + min(_BACKOFF_S * 4**message.attempts, _BACKOFF_MAX_S)
        with self.database.write() as connection:
            outbox.retry(connection, message, message.reached | delivery.reached, later)
        return False

    def _summarise(self, held: Sequence[StoredMessage], now: float) -> None:
        if self._bucket.wait_s(_BUCKET):
            return
        self._summary_at = now + _DEDUPLICATE_S
        counts = Counter(message.kind for message in held)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        text = "\n".join(
            filter(None, (f"Summary of messages that were held back: {counted}", self.public_url))
        )
        tags = [*map(str, sorted(counts)), ALL]
        delivery = self.announce(tags, "SmartCloudOps: similar notifications", text, ())
        if delivery.failures:
            _log.error("notification_failed", tags=tags, reason=delivery.failures)
            return
        with self.database.write() as connection:
            outbox.mark_sent(connection, [message.id for message in held], now)
