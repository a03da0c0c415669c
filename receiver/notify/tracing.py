"""Exports one trace for each run, from the webhook to the verified recovery, over OTLP.

Spans are built from the records after the run has ended, so that a crash splits no trace and a
collector that is down blocks no run. The trace's id is the run's.
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
from sqlalchemy import Connection, select
from ulid import ULID

from actions.base import Outcome
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.tables import audit
from receiver.audit.tail import Record
from receiver.runs import store
from receiver.runs.model import Run, State

_log = structlog.get_logger()
EVENTS = tuple(f"run_{state}" for state in State if state.ended)
_STATES = {f"run_{state}": str(state) for state in State if not state.ended}
_TIMEOUT_S = 5.0
_NS = 1_000_000_000


class Exporter(Protocol):
    """Sends spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans. Returns whether they arrived."""
        ...


def otlp(url: str) -> Exporter:
    """An exporter to a collector's endpoint, for example http://collector:4318/v1/traces."""
    return OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT_S)


@dataclass(frozen=True)
class _Span:
    """One span; times are epoch seconds."""

    name: str
    begun: float
    ended: float
    kind: SpanKind = SpanKind.INTERNAL
    failed: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class TraceExporter:
    """Exports a trace for each ended run, from one thread."""

    exporter: Exporter
    _waiting: list[ReadableSpan] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._resource = Resource.create(
            {"service.name": "smartcloudops", "service.version": version("smartcloudops")}
        )

    def on_record(self, connection: Connection, record: Record) -> None:
        if record.run_id is None:
            return
        run = store.get(connection, record.run_id)
        steps = ledger.intents_by_run(connection, [record.run_id]).get(record.run_id, ())
        of_run = (audit.c.run_id == record.run_id, audit.c.event.in_(_STATES))
        query = select(audit.c.at, audit.c.event).where(*of_run).order_by(audit.c.seq)
        transitions = [(row.at, _STATES[row.event]) for row in connection.execute(query)]
        if run is not None:
            self._waiting += self._spans(run, steps, transitions)

    def on_idle(self) -> None:
        """Export the collected spans. Spans that do not arrive are logged and dropped."""
        spans, self._waiting = self._waiting, []
        if spans and self.exporter.export(spans) is not SpanExportResult.SUCCESS:
            _log.warning("traces_lost", spans=len(spans))

    def _spans(
        self, run: Run, steps: Sequence[Intent], transitions: Sequence[tuple[float, str]]
    ) -> Iterator[ReadableSpan]:
        ended = run.ended_at or run.updated_at
        failed = run.state is State.FAILED
        server = SpanKind.SERVER
        yield self._span(run, None, _Span("alert", run.received_at, ended, server, failed=failed))
        states = [(run.received_at, "received"), *transitions, (ended, "")]
        for number, ((begun, name), (over, _)) in enumerate(pairwise(states)):
            yield self._span(run, f"state {number}", _Span(name, begun, over))
        for step in steps:
            over = step.ended_at or ended
            span = _Span(
                f"step {step.action}",
                step.started_at,
                over,
                failed=step.outcome in {Outcome.FAILED, Outcome.UNKNOWN},
                attributes={
                    "target": step.target,
                    "outcome": str(step.outcome),
                    "error": step.error or "",
                },
            )
            yield self._span(run, f"step {step.step.number}", span)
            if step.dispatched_at is not None:
                call = _Span(step.action, step.dispatched_at, over, SpanKind.CLIENT)
                yield self._span(run, f"call {step.step.number}", call)

    def _span(self, run: Run, key: str | None, span: _Span) -> ReadableSpan:
        """Build a span; `key` identifies it within its run, None is the run's root span."""
        attributes = {**(_attributes(run) if key is None else {}), **span.attributes}
        return ReadableSpan(
            name=span.name,
            context=_context(run.id, key or ""),
            parent=None if key is None else _context(run.id, ""),
            resource=self._resource,
            attributes={**attributes, "run": run.id},
            kind=span.kind,
            status=Status(StatusCode.ERROR if span.failed else StatusCode.OK),
            start_time=int(span.begun * _NS),
            end_time=int(max(span.begun, span.ended) * _NS),
        )


def _attributes(run: Run) -> Mapping[str, str]:
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
