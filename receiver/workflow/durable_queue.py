"""The durable engine: DBOS, behind the little that is asked of it.

A phase is one short workflow of a run: perform its step, or look once whether it helped. Phases
are enqueued in the transaction that records why, chained, and delayed rather than slept through.
The engine's tables are disposable: `runs.phase` names the workflow that carries a run, and what
is missing is enqueued again under the same name.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

import structlog
from dbos import DBOS, DBOSClient, DBOSConfig
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

_log = structlog.get_logger()
_QUEUE = "runs"
_WORKFLOW = "phase"
# Pinned by hand: DBOS would otherwise strand the work in flight at every change of the code.
_VERSION = "1"
_EXECUTOR = "local"
# An act is begun at once by whoever decided on it; what waits here waits for seconds.
_POLL_S = 0.25
_RETRY_S = 1.0


class Kind(StrEnum):
    ACT = "act"
    VERIFY = "verify"
    EXPIRE = "expire"
    FINISH = "finish"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """`number` orders the phases of the run, `attempt` counts how often this one broke."""

    run_id: str
    kind: Kind
    number: int
    attempt: int = 0

    @property
    def id(self) -> str:
        return f"{self.run_id}:{self.kind}:{self.number}:{self.attempt}"

    @classmethod
    def first(cls, run_id: str, kind: Kind, now: float) -> "Phase":
        """A phase under a name that the engine has not seen: one that it has, it leaves alone."""
        return cls(run_id=run_id, kind=kind, number=int(now * 1000))

    @classmethod
    def parse(cls, text: str) -> "Phase":
        run_id, kind, number, attempt = text.split(":")
        return cls(run_id=run_id, kind=Kind(kind), number=int(number), attempt=int(attempt))


class Enqueues(Protocol):
    """What carries phases."""

    def enqueue(self, connection: Connection, phase: Phase, *, delay_s: float = 0) -> None:
        """Have the phase run once the caller's transaction is committed; a known one is left."""


@dataclass
class Engine:
    """One per process. `handle` runs a phase and must be safe to repeat.

    Of several processes on one database one is started at a time: what its forerunner left under
    the same executor's name it takes up.
    """

    url: str
    workers: int
    handle: Callable[[Phase], None]
    _client: DBOSClient | None = field(default=None, init=False)
    _ready: threading.Event = field(default_factory=threading.Event, init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def connect(self) -> None:
        """From now on phases can be enqueued, whoever runs them."""
        self._client = DBOSClient(system_database_url=self.url)

    def start(self) -> None:
        """Migrate the engine's tables and go on with what a crash, or another receiver, left."""
        self._ready.clear()
        self._stopping.clear()
        config = DBOSConfig(
            name="smartcloudops",
            system_database_url=self.url,
            application_version=_VERSION,
            executor_id=_EXECUTOR,
            log_level="WARNING",
            enable_otlp=False,
            max_executor_threads=self.workers,
        )
        try:
            self._launch(config)
        except BaseException:
            # Half of one left in place would pass for launched at every later start, and run
            # nothing.
            DBOS.destroy(destroy_registry=True)
            raise
        self._ready.set()

    def _launch(self, config: DBOSConfig) -> None:
        DBOS(config=config)

        @DBOS.workflow(name=_WORKFLOW)
        def phase(text: str) -> None:
            # What a crash left begins as soon as the engine does, before it can be asked for more.
            self._ready.wait()
            self._handled(Phase.parse(text))

        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=self.workers, polling_interval_sec=_POLL_S)

    def _handled(self, phase: Phase) -> None:
        """Records that cannot be reached are waited for: the run goes on once they are back."""
        while True:
            try:
                self.handle(phase)
            except (InterfaceError, OperationalError) as error:
                _log.warning("phase_waits", run=phase.run_id, error=type(error.orig).__name__)
                if self._stopping.wait(_RETRY_S):
                    raise
            else:
                return

    def stop(self, *, within_s: int = 10) -> None:
        """Finish what runs, for at most so long; the rest goes on at the next start."""
        self._stopping.set()
        DBOS.destroy(workflow_completion_timeout_sec=within_s, destroy_registry=True)

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.destroy()
            self._client = None

    def forget(self, before: float, limit: int) -> int:
        """Remove phases that were done before then (epoch seconds); says how many went."""
        client = self._connected()
        done = datetime.fromtimestamp(before, UTC).isoformat()
        found = client.list_workflows(
            completed_before=done, limit=limit, load_input=False, load_output=False
        )
        ids = [one.workflow_id for one in found]
        if ids:
            client.delete_workflows(ids)
        return len(ids)

    def _connected(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("the engine is not connected")
        return self._client

    def enqueue(self, connection: Connection, phase: Phase, *, delay_s: float = 0) -> None:
        client = self._connected()
        options: Any = {
            "workflow_name": _WORKFLOW,
            "queue_name": _QUEUE,
            "workflow_id": phase.id,
            "app_version": _VERSION,
        }
        if delay_s > 0:
            options["delay_seconds"] = delay_s
        client.enqueue_in_transaction(connection, options, phase.id)
