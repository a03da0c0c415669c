"""Makes channels show what incidents are, whatever was lost, repeated or late before.

No message waits in a queue: what a channel shows is compared with what it should show, so that the
final state is right after any failure. A call is marked before it begins, and its answer is stored
after it; where that is missing (a lost answer, a kill) the call is repeated, and the final state is
sent once more after `SETTLE_S`, because an earlier request may arrive late.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from traceback import format_tb

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from receiver.db.database import Database, is_connection_lost
from receiver.incidents import records
from receiver.incidents.channel import Channel, ChannelError
from receiver.incidents.metrics import IncidentMetrics
from receiver.incidents.records import Incident, Line, Post
from receiver.incidents.view import IncidentView
from receiver.runtime.rfc3339 import DAY_S

_logger = structlog.get_logger()
# No request is under way for longer: clients and proxies give up before.
SETTLE_S = 120.0
_BACKOFF_S, _BACKOFF_MAX_S = 2.0, 600.0


@dataclass(kw_only=True)
class Sync:
    """Not thread-safe. `read` tells how an incident stands, `clock` gives epoch seconds."""

    database: Database
    channels: Sequence[Channel]
    read: Callable[[Connection, Incident], IncidentView]
    metrics: IncidentMetrics
    clock: Callable[[], float]
    # What is shown as it should be, by incident.
    _done: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    # By incident that could not be read or stored: how often, and when it is tried again.
    _failures: dict[str, tuple[int, float]] = field(default_factory=dict, init=False)
    # When a channel that asked for patience may be called again.
    _patience: dict[str, float] = field(default_factory=dict, init=False)

    def run_once(self) -> bool:
        """Call the channels that are due. Whether nothing is left to do.

        Raises SQLAlchemyError where the database is away; any other error delays its incident.
        """
        since = self.clock() - DAY_S
        with self.database.read() as connection:
            incidents = records.recent(connection, since)
        known = {incident.id for incident in incidents}
        self._done = {name: done for name, done in self._done.items() if name in known}
        self._failures = {name: rest for name, rest in self._failures.items() if name in known}
        done = [self._try(incident) for incident in incidents]
        return all(done)

    def _try(self, incident: Incident) -> bool:
        attempts, next_at = self._failures.get(incident.id, (0, 0.0))
        if self.clock() < next_at:
            return False
        try:
            done = self._show(incident)
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and is_connection_lost(error):
                raise
            self._failures[incident.id] = (attempts + 1, self.clock() + _backoff(attempts))
            for channel in self.channels:
                self.metrics.posts.labels(channel.name, "failed").inc()
            _log_unexpected(error, incident.id)
            return False
        self._failures.pop(incident.id, None)
        return done

    def _show(self, incident: Incident) -> bool:
        with self.database.read() as connection:
            lines = records.lines_of(connection, incident.id)
            shown = (incident.changed_at, len(lines))
            if self._done.get(incident.id) == shown:
                return True
            view = self.read(connection, incident)
            posts = records.posts_of(connection, incident.id)
        done = [
            self._show_on(channel, view, lines, posts.get(channel.name))
            for channel in self.channels
        ]
        if all(done):
            self._done[incident.id] = shown
        return all(done)

    def _show_on(
        self, channel: Channel, view: IncidentView, lines: Sequence[Line], post: Post | None
    ) -> bool:
        """Whether the channel shows the incident as it should, for good."""
        if not channel.wants(view, post):
            return True
        post = post or Post(incident_id=view.id, channel=channel.name)
        now = self.clock()
        is_settling = post.settle_at is not None and now >= post.settle_at
        is_old = post.digest != view.digest or is_settling
        missing = [line for line in lines if channel.threads and line.number > post.lines]
        if not is_old and not missing:
            return post.settle_at is None
        if now < max(post.next_at, self._patience.get(channel.name, 0.0)):
            return False
        try:
            if is_old:
                post = self._call(post, partial(channel.show, view))
                post = self._store(post, digest=view.digest)
            for line in missing:
                post = self._call(post, partial(_add, channel, view, line))
                post = self._store(post, lines=line.number)
        except _CallFailedError:
            return False
        self.metrics.posts.labels(channel.name, "shown").inc()
        return post.settle_at is None

    def _call(self, post: Post, call: Callable[[Post], str]) -> Post:
        """One call. The caller stores what it achieved, together with that it succeeded."""
        now = self.clock()
        self._store(post, unsure=True, attempts=post.attempts + 1)
        try:
            ref = call(post)
        except ChannelError as error:
            self._failed(post, error)
            raise _CallFailedError from None
        except Exception as error:  # noqa: BLE001 it must not keep others from being shown
            _log_unexpected(error, post.incident_id)
            self._failed(post, ChannelError(type(error).__name__, sent=True))
            raise _CallFailedError from None
        settle = now + SETTLE_S if post.unsure else post.settle_at
        if settle is not None and settle <= now:
            settle = None
        return replace(post, ref=ref, unsure=False, attempts=0, next_at=0.0, settle_at=settle)

    def _failed(self, post: Post, error: ChannelError) -> None:
        now = self.clock()
        wait = max(_backoff(post.attempts), error.retry_after_s)
        if error.retry_after_s:
            self._patience[post.channel] = now + error.retry_after_s
        self._store(
            post,
            ref="" if error.gone else post.ref,
            unsure=post.unsure or error.sent,
            attempts=post.attempts + 1,
            next_at=now + wait,
        )
        self.metrics.posts.labels(post.channel, "failed").inc()
        _logger.error("incident_post_failed", channel=post.channel, reason=str(error))

    def _store(self, post: Post, **changes: object) -> Post:
        changed = replace(post, **changes)  # type: ignore[arg-type]
        with self.database.write() as connection:
            records.store_post(connection, changed)
        return changed


class _CallFailedError(Exception):
    """The channel is called again later."""


def _backoff(attempts: int) -> float:
    """Seconds until the next attempt after so many failed ones."""
    return min(_BACKOFF_S * 2.0 ** min(attempts, 10), _BACKOFF_MAX_S)


def _log_unexpected(error: Exception, incident_id: str) -> None:
    """Log where it happened. The error's text may have a secret, the source's lines have none."""
    stack = "".join(format_tb(error.__traceback__))
    kind = type(error).__name__
    _logger.error("incident_show_failed", incident=incident_id, error=kind, stack=stack)


def _add(channel: Channel, view: IncidentView, line: Line, post: Post) -> str:
    channel.add_line(view, post, line)
    return post.ref
