"""Files of the configuration that are loaded again when they change."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.atomic_file import file_stamp
from receiver.playbooks.loader import Finding, InvalidFilesError, Playbooks, load
from receiver.settings import Settings

_Stamp = tuple[object, ...]


@dataclass
class WatchedFiles:
    """Files that `load` loads again; it raises InvalidFilesError where they have faults.

    `what` names them on record, where `view` shows what is loaded; else the hash of each file.
    """

    what: str
    files: Callable[[], Iterable[Path]]
    load: Callable[[], None]
    view: Callable[[], Any] | None = None
    _loaded: _Stamp = field(init=False)
    _seen: _Stamp = field(init=False)
    _hashes: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._loaded = self._seen = self._stamp()
        self._hashes = self._hash()

    def shown(self) -> Any:
        """What is loaded, for the record."""
        return self.view() if self.view else self._hashes

    def reload(self) -> Sequence[Finding] | None:
        """Load changed files, once they have stayed the same from one call to the next.

        None where there is nothing to load; else the findings, with which the old ones stay.
        """
        stamp, seen = self._stamp(), self._seen
        self._seen = stamp
        if stamp in (self._loaded, ()) or stamp != seen:
            return None
        self._loaded = stamp
        try:
            self.load()
        except InvalidFilesError as error:
            return error.findings
        self._hashes = self._hash()
        return ()

    def _stamp(self) -> _Stamp:
        """Changes with each file; empty where they cannot be listed."""
        try:
            return tuple((file.name, file_stamp(file)) for file in self.files())
        except OSError:
            return ()

    def _hash(self) -> Mapping[str, str]:
        try:
            return {
                file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in self.files()
            }
        except OSError:
            return {}


def watch_playbooks(
    settings: Settings, playbooks: Playbooks, loaded: Callable[[Playbooks], None]
) -> WatchedFiles:
    """The folder of the `playbooks`; `loaded` is called after these were replaced."""

    def take_over() -> None:
        playbooks.take_over(load(settings.playbooks, settings.node_job))
        loaded(playbooks)

    return WatchedFiles(
        what="playbooks",
        files=lambda: sorted(settings.playbooks.glob("*.y*ml")),
        load=take_over,
        view=lambda: {
            playbook.name: {"digest": playbook.digest, "mode": str(playbook.mode)}
            for playbook in playbooks.items
        },
    )
