"""Finds the targets of alerts whose labels alone do not tell them, before any of them is decided.

A storm is counted by the targets of alerts that wait, too.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import structlog

from receiver.db.database import Database
from receiver.evidence.target import Target
from receiver.runs import intake, store
from receiver.runs.model import Run
from receiver.runtime.cache import BoundedCache

_log = structlog.get_logger()
# Alerts of a storm come within this time; so many are sought at once.
_SINCE_S, _AT_ONCE = 300.0, 250


@dataclass(kw_only=True)
class TargetFinder:
    """Stores what `find` tells of each waiting alert, once; `pool` runs it. Thread-safe."""

    database: Database
    find: Callable[[Run], Target]
    pool: Executor
    _sought: BoundedCache[str, None] = field(default_factory=BoundedCache, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def find_waiting(self, batch: Sequence[Run], now: float) -> None:
        """Find all targets that wait at `now` (epoch seconds), if one of the batch has none."""
        if all(run.target is not None for run in batch):
            return
        try:
            with self._lock:
                self._find(now)
        except Exception:  # noqa: BLE001 each decision finds its own target once more
            _log.exception("targets_find_failed")

    def _find(self, now: float) -> None:
        with self.database.ask() as connection:
            waiting = store.waiting_without_target(connection, now - _SINCE_S, _AT_ONCE)
        runs = [run for run in waiting if run.id not in self._sought]
        targets = zip(runs, self.pool.map(self.find, runs), strict=True)
        found = {run.id: target for run, target in targets if target.id}
        if found:
            with self.database.write() as connection:
                intake.set_targets(connection, found)
        for run in runs:
            self._sought[run.id] = None
