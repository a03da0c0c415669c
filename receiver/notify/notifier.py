"""Tells people what happens, deduplicated and no faster than they can read."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from actions.messaging import MessengerError
from receiver.audit.tail import Record
from receiver.db.database import Database
from receiver.http.rate_limit import Buckets
from receiver.metrics import Metrics
from receiver.notify.messages import Kind, Notice, notice
from receiver.runs import store

_log = structlog.get_logger()
ALL = "events"
# What is the same within this time is told once, and what was left out after it.
_SAME_S = 300.0
# What happened longer ago, while this was down, is no news any more.
_OLD_S = 3600.0
_TRIES = 3
_BACKOFF_S = 2.0
_EVERYBODY = "all"


@dataclass
class Notifications:
    """`announce` tells those that any of the tags names, or raises MessengerError.

    `public_url` is where people see runs. For one thread. `clock` gives epoch seconds.
    """

    database: Database
    announce: Callable[[Sequence[str], str, str], None]
    metrics: Metrics
    public_url: str | None
    per_minute: int
    clock: Callable[[], float]
    pause: Callable[[float], object] = threading.Event().wait
    _told: dict[tuple[str, ...], float] = field(default_factory=dict, init=False)
    _left_out: Counter[Kind] = field(default_factory=Counter, init=False)
    _left_out_since: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._bucket = Buckets(
            per_s=self.per_minute / 60, burst=float(self.per_minute), clock=self.clock
        )

    def take(self, record: Record) -> None:
        """Tell of this record, now, or later among others, or not at all."""
        now = self.clock()
        if now - record.at > _OLD_S:
            return
        with self.database.read() as connection:
            run = store.get(connection, record.run_id) if record.run_id else None
        found = notice(record, run, self.public_url)
        if found is None:
            return
        if self._again(found, now) or self._bucket.wait_s(_EVERYBODY):
            self._leave_out(found.kind, now)
        else:
            self._tell([found.kind], found.title, found.text, found.kind)

    def rest(self) -> None:
        """Sum up what was left out, once a while has passed."""
        now = self.clock()
        if not self._left_out or now - self._left_out_since < _SAME_S:
            return
        if self._bucket.wait_s(_EVERYBODY):
            return
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self._left_out.items()))
        kinds = sorted(self._left_out)
        self._left_out.clear()
        text = "\n".join(filter(None, (f"Not told one by one: {counts}", self.public_url)))
        self._tell(kinds, "SmartCloudOps: more of the same", text, None)

    def _again(self, found: Notice, now: float) -> bool:
        self._told = {key: at for key, at in self._told.items() if now - at < _SAME_S}
        again = found.same_as in self._told
        if not again:
            self._told[found.same_as] = now
        return again

    def _leave_out(self, kind: Kind, now: float) -> None:
        if not self._left_out:
            self._left_out_since = now
        self._left_out[kind] += 1
        self.metrics.notifications.labels(kind, "left_out").inc()

    def _tell(self, kinds: Sequence[Kind], title: str, text: str, counted: Kind | None) -> None:
        tags = [*map(str, kinds), ALL]
        for attempt in range(_TRIES):
            try:
                self.announce(tags, title, text)
            except MessengerError as error:
                _log.error("notification_failed", to=tags, why=str(error), attempt=attempt + 1)
                if error.sent:
                    break
                self.pause(_BACKOFF_S * 4**attempt)
            else:
                if counted is not None:
                    self.metrics.notifications.labels(counted, "sent").inc()
                return
        if counted is not None:
            self.metrics.notifications.labels(counted, "failed").inc()
