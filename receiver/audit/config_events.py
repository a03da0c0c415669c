"""On record: with what configuration the service ran, and what changed in it, tokens included.

Values that could hold a secret (texts, addresses, paths) are left out: only whether they are set.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import structlog
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import log as chain
from actions.audit.log import Event
from actions.tables import audit
from receiver.db.database import Database
from receiver.http import tokens
from receiver.http.tokens import TokensError
from receiver.playbooks.loader import Playbooks
from receiver.runtime.periodic import Beat
from receiver.settings import Profile, Settings

_log = structlog.get_logger()
_ACTOR = "smartcloudops"
_STARTED, _STOPPED, _CHANGED = "service_started", "service_stopped", "configuration_changed"
_INTERVAL_S = 1.0
_OPEN = (bool, int, float, Profile)


@dataclass(kw_only=True)
class ConfigurationRecord:
    """`beat` looks for changed tokens; a thread calls it once a second."""

    settings: Settings
    playbooks: Playbooks
    database: Database
    clock: Callable[[], float]
    _beat: Beat = field(init=False)
    _file: object = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._beat = Beat("configuration", _INTERVAL_S, self.beat)

    def start(self) -> None:
        """Record what the service starts with, and how it differs from the last time."""
        self._file = _state(self.settings)
        now = self._read()
        self._try(now, Event(actor=_ACTOR, event=_STARTED, detail=now))
        self._beat.start()

    def stop(self) -> None:
        """The last record of this process."""
        if self._beat.stop():
            self._try({}, Event(actor=_ACTOR, event=_STOPPED, detail={}))

    def beat(self) -> None:
        state = _state(self.settings)
        if state != self._file and self._try({"tokens": _tokens(self.settings)}):
            self._file = state

    def _try(self, now: Mapping[str, Any], *events: Event) -> bool:
        """Record the events, and what of `now` is not as it is on record already."""
        try:
            with self.database.write() as connection:
                changes = _differences(_last(connection), now)
                chain.append(connection, self.clock(), *events, *changes)
        except SQLAlchemyError as error:
            _log.error("configuration_unrecorded", error=type(error).__name__)
            return False
        return True

    def _read(self) -> dict[str, Any]:
        return {
            "version": version("smartcloudops"),
            "settings": _settings(self.settings),
            "playbooks": {
                one.name: {"digest": one.digest, "mode": str(one.mode)}
                for one in self.playbooks.items
            },
            "tokens": _tokens(self.settings),
        }


def _settings(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults."""
    found: dict[str, Any] = {"mode": str(settings.mode)}
    for name, about in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name != "mode" and value != about.default:
            found[name] = value if isinstance(value, _OPEN) else "set"
    return found


def _tokens(settings: Settings) -> dict[str, str] | None:
    """Roles by name; None where the file cannot be read."""
    try:
        return {one.name: str(one.role) for one in tokens.every(settings.tokens_file)}
    except TokensError:
        return None


def _state(settings: Settings) -> tuple[int, int, int] | None:
    try:
        found = settings.tokens_file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _last(connection: Connection) -> Mapping[str, Any] | None:
    """What was recorded at the last start, with the changes since; None at the first one."""
    started = select(audit.c.seq, audit.c.detail).where(audit.c.event == _STARTED)
    last = connection.execute(started.order_by(audit.c.seq.desc()).limit(1)).one_or_none()
    if last is None:
        return None
    known: dict[str, Any] = json.loads(last.detail)
    since = select(audit.c.detail).where(audit.c.event == _CHANGED, audit.c.seq > last.seq)
    for detail in map(json.loads, connection.scalars(since.order_by(audit.c.seq))):
        known[detail["what"]] = detail["after"]
    return known


def _differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Event]:
    """An event for each part that differs."""
    return [
        Event(
            actor=_ACTOR,
            event=_CHANGED,
            detail={"what": what, "before": before.get(what), "after": after[what]},
        )
        for what in after
        if before is not None and before.get(what) != after[what]
    ]
