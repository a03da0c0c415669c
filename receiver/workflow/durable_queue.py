"""The durable queue of phases, on DBOS.

A phase is one short workflow of a run: it performs a step, or verifies once whether the step
helped. Only DBOS runs phases. The transaction that changes a run also stores its next phase; a wait
is a delayed phase, not a sleep. `runs.phase` names the run's current workflow; any other workflow
of the run does nothing.
"""

import threading
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from uuid import uuid4

import structlog
from dbos import DBOS, DBOSClient, DBOSConfig
from dbos._core import execute_dequeued_workflow
from dbos._enqueue_options import EnqueueOptions, build_enqueue_status
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from receiver.workflow.queue_polling import POLL_S, QueuePolling

_log = structlog.get_logger()
_APPLICATION = "smartcloudops"
_QUEUE = "runs"
_WORKFLOW = "phase"
# Pinned: DBOS derives it from the code, and a new release would not find an earlier one's phases.
_VERSION = "1"
_EXECUTOR = "local"
# DBOS's messages and its own queue, which nothing here uses, are looked at this often.
_MESSAGES_S, _OWN_QUEUE_S = 0.25, 60.0
_RECONNECT_S = 1.0
# What a loss of power undoes of DBOS' own notes runs a phase again, which then does nothing.
_UNSYNCED = {"connect_args": {"options": "-c synchronous_commit=off"}}


class _Unfinished(BaseException):
    """Leaves a phase to the next start. DBOS would record an `Exception` as the phase's outcome."""


class PhaseKind(StrEnum):
    ACT = "act"
    VERIFY = "verify"
    EXPIRE = "expire"
    FINISH = "finish"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase; `number` orders the phases of a run, `attempt` counts this phase's failures."""

    run_id: str
    kind: PhaseKind
    number: int
    attempt: int = 0

    @property
    def id(self) -> str:
        return f"{self.run_id}:{self.kind}:{self.number}:{self.attempt}"

    @classmethod
    def first(cls, run_id: str, kind: PhaseKind, now: float) -> "Phase":
        """A phase with a new id, because the queue ignores an id that it already knows."""
        return cls(run_id=run_id, kind=kind, number=int(now * 1000))

    def following(self, kind: PhaseKind) -> "Phase":
        return Phase(run_id=self.run_id, kind=kind, number=self.number + 1)

    @classmethod
    def parse(cls, text: str) -> "Phase":
        run_id, kind, number, attempt = text.split(":")
        return cls(run_id=run_id, kind=PhaseKind(kind), number=int(number), attempt=int(attempt))


@dataclass
class DurableQueue:
    """The queue; one for each process. `handle` runs a phase and must be safe to repeat.

    Only one process on a database may start its queue at a time. All processes use the same
    executor id, so that the next one resumes the phases that the previous one left unfinished.
    """

    url: str
    workers: int
    handle: Callable[[Phase], None]
    _client: DBOSClient | None = field(default=None, init=False)
    # What stores phases in the transactions of an engine.
    _writers: dict[Engine, DBOSClient] = field(default_factory=dict, init=False)
    _engine: DBOS | None = field(default=None, init=False)
    _ready: threading.Event = field(default_factory=threading.Event, init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _polling: QueuePolling | None = field(default=None, init=False)

    def connect(self) -> None:
        """Allow `enqueue`, even in a process that does not run phases."""
        self._client = DBOSClient(system_database_url=self.url)

    def start(self) -> None:
        """Migrate DBOS's tables, and run the phases that a crash or another receiver left."""
        self._ready.clear()
        self._stopping.clear()
        config = DBOSConfig(
            name=_APPLICATION,
            system_database_url=self.url,
            application_version=_VERSION,
            executor_id=_EXECUTOR,
            log_level="WARNING",
            enable_otlp=False,
            max_executor_threads=self.workers,
            notification_coalesce_sec=_MESSAGES_S,
        )
        if self.url.startswith("postgresql"):
            config["db_engine_kwargs"] = _UNSYNCED
        try:
            self._launch(config)
        except BaseException:
            # Otherwise DBOS would take the failed start for a launched instance, and a later start
            # would run no phase.
            DBOS.destroy(destroy_registry=True)
            raise
        self._ready.set()

    def _launch(self, config: DBOSConfig) -> None:
        engine = DBOS(config=config)

        @DBOS.workflow(name=_WORKFLOW)
        def phase(text: str) -> None:
            # DBOS recovers phases while it launches, before the queue is registered.
            self._ready.wait()
            self._handle(Phase.parse(text))

        DBOS.launch()
        engine._registry.get_internal_queue()._polling_interval_sec = _OWN_QUEUE_S
        limit, every_s = self.workers, POLL_S
        queue = DBOS.register_queue(_QUEUE, worker_concurrency=limit, polling_interval_sec=every_s)
        self._polling = QueuePolling(queue)
        self._polling.calm(engine._sys_db)
        self._polling.periodic.start()
        self._engine = engine

    def _handle(self, phase: Phase) -> None:
        """Run the phase; while the database is unavailable, retry."""
        while True:
            try:
                self.handle(phase)
            except (InterfaceError, OperationalError) as error:
                _log.warning(
                    "database_unavailable", run=phase.run_id, error=type(error.orig).__name__
                )
                if self._stopping.wait(_RECONNECT_S):
                    raise _Unfinished from error
            else:
                return

    def stop(self) -> None:
        """Finish running phases within ten seconds; the next start resumes all others."""
        self._stopping.set()
        self._engine = None
        if self._polling:
            self._polling.periodic.stop()
        DBOS.destroy(workflow_completion_timeout_sec=10, destroy_registry=True)

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.destroy()
            self._client = None
        while self._writers:
            # It leaves the engine, which is the caller's, as it is.
            self._writers.popitem()[1].destroy()

    def delete_finished(self, before: float, limit: int) -> int:
        """Delete phases that finished before `before` (epoch seconds). Returns their number."""
        client = self._connected()
        completed_before = datetime.fromtimestamp(before, UTC).isoformat()
        workflows = client.list_workflows(
            completed_before=completed_before, limit=limit, load_input=False, load_output=False
        )
        ids = [workflow.workflow_id for workflow in workflows]
        if ids:
            client.delete_workflows(ids)
        return len(ids)

    def _connected(self) -> DBOSClient:
        if self._client is None:
            raise RuntimeError("the durable queue is not connected")
        return self._client

    def _writer(self, connection: Connection) -> DBOSClient:
        """DBOS builds its statements once for an engine that it knows, and else each time."""
        engine = connection.engine
        if engine not in self._writers:
            self._writers[engine] = DBOSClient(system_database_engine=engine, lazy=True)
        return self._writers[engine]

    def enqueue(self, connection: Connection, phase: Phase, *, delay_s: float = 0) -> None:
        """Store a phase that runs after the caller's commit and the delay.

        A phase whose id is known is ignored.
        """
        options = _options(phase)
        if delay_s > 0:
            options["delay_seconds"] = delay_s
            if self._polling is not None:
                self._polling.expect(delay_s)
        self._writer(connection).enqueue_in_transaction(connection, options, phase.id)

    def begin(self, connection: Connection, phase: Phase) -> Callable[[], object]:
        """Store a phase; the caller calls the returned function after its commit to run it at once.

        As DBOS's `start_workflow`, but in the caller's transaction, which DBOS does not offer.
        The row names this process as the one that runs the phase, so that no worker dequeues it. If
        the process crashes before it calls the returned function, DBOS recovers the phase as it
        recovers any interrupted one.
        """
        engine = self._engine
        if engine is None:
            raise RuntimeError("the durable queue does not run here")
        _, status = build_enqueue_status(_options(phase), engine._serializer, (phase.id,), {})
        status["status"] = "PENDING"
        status["executor_id"], status["application_name"] = _EXECUTOR, _APPLICATION
        owner = str(uuid4())
        system = self._writer(connection)._sys_db
        system.init_workflow_with_connection(status, connection, creator_xid=owner)
        # A new context, because inside a running phase DBOS would take this phase for its child.
        return partial(Context().run, execute_dequeued_workflow, engine, status, owner)


def _options(phase: Phase) -> EnqueueOptions:
    return {
        "workflow_name": _WORKFLOW,
        "queue_name": _QUEUE,
        "workflow_id": phase.id,
        "app_version": _VERSION,
    }
