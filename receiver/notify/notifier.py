"""Sends notifications of audit records, deduplicated and limited to a rate people can read."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from actions.messaging import MessengerError
from receiver.audit.tail import Record
from receiver.db.database import Database
from receiver.http.rate_limit import RateLimiter
from receiver.notify.messages import Message, MessageKind, make_message
from receiver.notify.metrics import NotifyMetrics
from receiver.runs import store

_log = structlog.get_logger()
# Recipients with this tag get every notification.
ALL = "events"
# Of equal messages within this time only the first is sent; a summary follows after it.
_DEDUPLICATE_S = 300.0
# Records older than this, from before a restart, are not sent.
_AGE_MAX_S = 3600.0
_TRIES = 3
_BACKOFF_S = 2.0
_BUCKET = "all"
# A recipient reads 20 notifications a minute; a chat service takes one a second.
_PER_MINUTE = 20


@dataclass
class Notifier:
    """Used by one thread. `announce(tags, title, text)` sends, or raises MessengerError.

    `public_url` is the console's address for links; `clock` gives epoch seconds.
    """

    database: Database
    announce: Callable[[Sequence[str], str, str], None]
    metrics: NotifyMetrics
    public_url: str | None
    clock: Callable[[], float]
    per_minute: int = _PER_MINUTE
    pause: Callable[[float], object] = threading.Event().wait
    _sent_at: dict[tuple[str, ...], float] = field(default_factory=dict, init=False)
    _held_back: Counter[MessageKind] = field(default_factory=Counter, init=False)
    _held_back_since: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._bucket = RateLimiter(
            per_s=self.per_minute / 60, burst=float(self.per_minute), clock=self.clock
        )

    def on_record(self, record: Record) -> None:
        """Send a message about the record, hold it back for a summary, or ignore it."""
        now = self.clock()
        if now - record.at > _AGE_MAX_S:
            return
        with self.database.read() as connection:
            run = store.get(connection, record.run_id) if record.run_id else None
        message = make_message(record, run, self.public_url)
        if message is None:
            return
        if self._is_repeat(message, now) or self._bucket.wait_s(_BUCKET):
            self._hold_back(message.kind, now)
        else:
            self._send([message.kind], message.title, message.text, message.kind)

    def on_idle(self) -> None:
        """Send a summary of the messages held back, at most every 5 minutes."""
        now = self.clock()
        if not self._held_back or now - self._held_back_since < _DEDUPLICATE_S:
            return
        if self._bucket.wait_s(_BUCKET):
            return
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self._held_back.items()))
        kinds = sorted(self._held_back)
        self._held_back.clear()
        text = "\n".join(filter(None, (f"Not sent one by one: {counts}", self.public_url)))
        self._send(kinds, "SmartCloudOps: similar notifications", text, None)

    def _is_repeat(self, message: Message, now: float) -> bool:
        self._sent_at = {key: at for key, at in self._sent_at.items() if now - at < _DEDUPLICATE_S}
        is_repeat = message.same_as in self._sent_at
        if not is_repeat:
            self._sent_at[message.same_as] = now
        return is_repeat

    def _hold_back(self, kind: MessageKind, now: float) -> None:
        if not self._held_back:
            self._held_back_since = now
        self._held_back[kind] += 1
        self.metrics.notifications.labels(kind, "left_out").inc()

    def _send(
        self, kinds: Sequence[MessageKind], title: str, text: str, counted: MessageKind | None
    ) -> None:
        tags = [*map(str, kinds), ALL]
        for attempt in range(_TRIES):
            try:
                self.announce(tags, title, text)
            except MessengerError as error:
                _log.error("notification_failed", to=tags, reason=str(error), attempt=attempt + 1)
                if error.sent:
                    break
                self.pause(_BACKOFF_S * 4**attempt)
            else:
                if counted is not None:
                    self.metrics.notifications.labels(counted, "sent").inc()
                return
        if counted is not None:
            self.metrics.notifications.labels(counted, "failed").inc()
