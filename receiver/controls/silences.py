"""Alertmanager's silences by others, as holds: a person who silences an alert works on it.

Alertmanager delivers no silenced alert, and tells nobody of a silence that is set later.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from receiver.controls.records import Effect, Override
from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.playbooks.matchers import Matcher, MatcherError

_log = structlog.get_logger()
# The list serves all decisions for this long; without an answer there is a pause.
_LASTS_S, _PAUSE_S = 5.0, 60.0
# A decision waits no longer for Alertmanager.
_WAIT_S = 2.0
# A person may end a silence at any time, so that its end is not relied on for longer.
_RELIED_ON_S = 60.0
# The comment of this service's own silences: a run's id, and its step.
_OWN = re.compile(r"[0-9A-Z]{26}/\d+")


class _Matcher(BaseModel):
    name: str
    value: str
    is_regex: bool = Field(alias="isRegex")
    is_equal: bool = Field(default=True, alias="isEqual")


class _Status(BaseModel):
    state: str


class _Silence(BaseModel):
    id: str
    matchers: list[_Matcher] = Field(min_length=1)
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    created_by: str = Field(alias="createdBy")
    comment: str
    status: _Status


_SILENCES = TypeAdapter(list[_Silence])


@dataclass
class Silences:
    """Reads the list when it is asked, at most once in a few seconds; thread-safe.

    While Alertmanager does not answer, the last list counts; before its first answer none does.
    """

    alertmanager: Alertmanager
    clock: Callable[[], float] = time.time
    _found: Sequence[Override] = field(default=(), init=False)
    _next_at: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def holds(self) -> Sequence[Override]:
        """The silences by others, as holds on what they match."""
        with self._lock:
            now = self.clock()
            if now >= self._next_at:
                self._read(now)
            relied_on = now + _RELIED_ON_S
            return [replace(hold, ends_at=min(hold.ends_at, relied_on)) for hold in self._found]

    def _read(self, now: float) -> None:
        self._next_at = now + _PAUSE_S
        try:
            body = self.alertmanager.call("GET", "silences", wait_s=_WAIT_S)
            listed = _SILENCES.validate_json(body)
        except (AlertmanagerError, ValidationError) as error:
            _log.warning("silences_read_failed", error=type(error).__name__)
            return
        self._next_at = now + _LASTS_S
        others = [
            silence
            for silence in listed
            if silence.status.state != "expired" and not _OWN.fullmatch(silence.comment)
        ]
        self._found = [hold for hold in map(_hold, others) if hold is not None]


def _hold(silence: _Silence) -> Override | None:
    """None for one whose regular expression cannot be compiled here."""
    try:
        matchers = [Matcher(**vars(matcher)) for matcher in silence.matchers]
    except MatcherError:
        _log.warning("silence_unreadable", silence=silence.id)
        return None
    return Override(
        id=silence.id,
        matchers=matchers,
        effect=Effect.HOLD,
        starts_at=silence.starts_at.timestamp(),
        ends_at=silence.ends_at.timestamp(),
        created_by=f"{silence.created_by} (Alertmanager)",
        comment=silence.comment,
    )
