"""One trace an alert, from the webhook to the verified recovery, over OTLP.

It is told from the records once the run has ended, so that nothing is measured twice, a crash cuts
no trace in two, and a collector that is down holds up nothing. The trace's id is the run's.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from typing import Protocol

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from sqlalchemy import select
from ulid import ULID

from actions.base import Outcome
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.tables import audit
from receiver.audit.tail import Record
from receiver.db.database import Database
from receiver.runs import store
from receiver.runs.model import Run, State

_log = structlog.get_logger()
EVENTS = tuple(f"run_{state}" for state in State if state.ended)
_BATCH = 512
_TIMEOUT_S = 5.0
_NS = 1_000_000_000


class Exports(Protocol):
    """Where spans go."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; the answer says whether they arrived."""
        ...


def otlp(url: str) -> Exports:
    """A collector's traces endpoint, such as http://collector:4318/v1/traces."""
    return OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)


@dataclass
class Traces:
    """Takes ends of runs, and exports what led to them. For one thread."""

    database: Database
    exporter: Exports
    _waiting: list[ReadableSpan] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._resource = Resource.create(
            {"service.name": "smartcloudops", "service.version": version("smartcloudops")}
        )

    def take(self, record: Record) -> None:
        if record.run_id is None:
            return
        with self.database.read() as connection:
            run = store.get(connection, record.run_id)
            steps = ledger.of_runs(connection, [record.run_id]).get(record.run_id, ())
            mine = (audit.c.run_id == record.run_id, audit.c.event.like("run\\_%", escape="\\"))
            query = select(audit.c.at, audit.c.event).where(*mine).order_by(audit.c.seq)
            moves = [(row.at, row.event) for row in connection.execute(query)]
        if run is not None:
            self._waiting += self._spans(run, steps, moves)
        if len(self._waiting) >= _BATCH:
            self.rest()

    def rest(self) -> None:
        """Export what waits; what does not arrive is lost, and said."""
        spans, self._waiting = self._waiting, []
        if spans and self.exporter.export(spans) is not SpanExportResult.SUCCESS:
            _log.warning("traces_lost", spans=len(spans))

    def _spans(
        self, run: Run, steps: Sequence[Intent], moves: Sequence[tuple[float, str]]
    ) -> Iterator[ReadableSpan]:
        ended = run.ended_at or run.updated_at
        failed = run.state is State.FAILED
        yield self._span(
            run, "alert", None, run.received_at, ended, kind=SpanKind.SERVER, failed=failed
        )
        states = [(run.received_at, "received"), *_states(moves), (ended, "")]
        for number, ((begun, name), (over, _)) in enumerate(pairwise(states)):
            yield self._span(run, name, f"state {number}", begun, over)
        for step in steps:
            failed = step.outcome in {Outcome.FAILED, Outcome.UNKNOWN}
            over = step.ended_at or ended
            said = {"target": step.target, "outcome": str(step.outcome), "error": step.error or ""}
            name = f"step {step.action}"
            key = f"step {step.step}"
            yield self._span(run, name, key, step.started_at, over, failed=failed, said=said)
            if step.dispatched_at is not None:
                client = SpanKind.CLIENT
                sent = step.dispatched_at
                yield self._span(run, step.action, f"call {step.step}", sent, over, kind=client)

    def _span(  # noqa: PLR0913 one argument a part of a span
        self,
        run: Run,
        name: str,
        key: str | None,
        begun: float,
        over: float,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        failed: bool = False,
        said: Mapping[str, str] | None = None,
    ) -> ReadableSpan:
        """`key` tells it from the run's others; None is the whole of it."""
        return ReadableSpan(
            name=name,
            context=_context(run.id, key or ""),
            parent=None if key is None else _context(run.id, ""),
            resource=self._resource,
            attributes={**(_about(run) if key is None else {}), **(said or {}), "run": run.id},
            kind=kind,
            status=Status(StatusCode.ERROR if failed else StatusCode.OK),
            start_time=int(begun * _NS),
            end_time=int(max(begun, over) * _NS),
        )


def _states(moves: Sequence[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    """When the run was moved on, and to what; what people did to it is no state."""
    known = {f"run_{state}": str(state) for state in State if not state.ended}
    for at, event in moves:
        if event in known:
            yield at, known[event]


def _about(run: Run) -> Mapping[str, str]:
    return {
        "state": str(run.state),
        "refusal": run.refusal or "",
        "outcome": run.outcome or "",
        "playbook": run.playbook or "",
        "target": run.target or "",
        "group": run.group_name or "",
    }


def _context(run_id: str, key: str) -> SpanContext:
    digest = hashlib.sha256(f"{run_id}/{key}".encode()).digest()
    return SpanContext(
        trace_id=int(ULID.from_str(run_id)),
        span_id=int.from_bytes(digest[:8]) or 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
