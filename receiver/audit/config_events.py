"""Audits the configuration: in full at each start, then changes of tokens and watched files.

A value that may be a secret (text, address, path) is recorded as set, without the value.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import structlog
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from actions.atomic_file import file_stamp
from actions.audit import log as chain
from actions.audit.log import Event
from actions.tables import audit
from receiver.db.database import Database
from receiver.http.access import tokens
from receiver.http.access.tokens import TokensError
from receiver.playbooks.watched_files import WatchedFiles
from receiver.runtime.periodic import Periodic
from receiver.settings import Profile, Settings

_log = structlog.get_logger()
_ACTOR = "smartcloudops"
_STARTED, _STOPPED, _CHANGED = "service_started", "service_stopped", "configuration_changed"
_REFUSED = "configuration_refused"
# Findings in the record of a refusal; the log has all.
_FINDINGS_MAX = 20
_INTERVAL_S = 1.0
# Types whose values cannot be secrets.
_OPEN_TYPES = (bool, int, float, Profile)


@dataclass(kw_only=True)
class ConfigRecorder:
    """Records the configuration at the start, and looks for changes once a second.

    Changed `watched` files without findings are loaded.
    """

    settings: Settings
    watched: Sequence[WatchedFiles]
    database: Database
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)
    _file_state: object = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("configuration", _INTERVAL_S, self.run_once)

    def start(self) -> None:
        """Record the configuration, and its differences from the last start."""
        self._file_state = file_stamp(self.settings.tokens_file)
        configuration = self._read()
        started = Event(actor=_ACTOR, event=_STARTED, detail=configuration)
        self._record(configuration, started)
        self._periodic.start()

    def stop(self) -> None:
        """Record that this process stops."""
        if self._periodic.stop():
            self._record({}, Event(actor=_ACTOR, event=_STOPPED, detail={}))

    def run_once(self) -> None:
        """Record changed tokens, and load changed files."""
        state = file_stamp(self.settings.tokens_file)
        if state != self._file_state and self._record({"tokens": _tokens(self.settings)}):
            self._file_state = state
        for files in self.watched:
            self._reload(files)

    def _reload(self, files: WatchedFiles) -> None:
        findings = files.reload()
        if findings:
            texts = [str(finding) for finding in findings]
            _log.error("configuration_refused", what=files.what, findings=texts)
            detail = {"what": files.what, "findings": texts[:_FINDINGS_MAX]}
            self._record({}, Event(actor=_ACTOR, event=_REFUSED, detail=detail))
        elif findings is not None:
            _log.info("configuration_loaded", what=files.what)
            self._record({files.what: files.shown()})

    def _record(self, current: Mapping[str, Any], *events: Event) -> bool:
        """Record the events, and each part of `current` that differs from the last record."""
        try:
            with self.database.write() as connection:
                changes = _differences(_last_recorded(connection), current)
                chain.append(connection, self.clock(), *events, *changes)
        except SQLAlchemyError as error:
            _log.error("config_record_failed", error=type(error).__name__)
            return False
        return True

    def _read(self) -> dict[str, Any]:
        return {
            "version": version("smartcloudops"),
            "settings": _settings(self.settings),
            "tokens": _tokens(self.settings),
            **{files.what: files.shown() for files in self.watched},
        }


def _settings(settings: Settings) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    changed: dict[str, Any] = {"mode": str(settings.mode)}
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        if name != "mode" and value != info.default:
            changed[name] = value if isinstance(value, _OPEN_TYPES) else "set"
    return changed


def _tokens(settings: Settings) -> dict[str, str] | None:
    """Roles by name; None where the file cannot be read."""
    try:
        return {token.name: str(token.role) for token in tokens.list_tokens(settings.tokens_file)}
    except TokensError:
        return None


def _last_recorded(connection: Connection) -> Mapping[str, Any] | None:
    """The configuration as last recorded; None at the first start."""
    started = select(audit.c.seq, audit.c.detail).where(audit.c.event == _STARTED)
    last = connection.execute(started.order_by(audit.c.seq.desc()).limit(1)).one_or_none()
    if last is None:
        return None
    recorded: dict[str, Any] = json.loads(last.detail)
    since = select(audit.c.detail).where(audit.c.event == _CHANGED, audit.c.seq > last.seq)
    for detail in map(json.loads, connection.scalars(since.order_by(audit.c.seq))):
        recorded[detail["what"]] = detail["after"]
    return recorded


def _differences(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Event]:
    """One event for each part that differs."""
    return [
        Event(
            actor=_ACTOR,
            event=_CHANGED,
            detail={"what": what, "before": before.get(what), "after": after[what]},
        )
        for what in after
        if before is not None and before.get(what) != after[what]
    ]
