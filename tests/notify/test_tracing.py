"""One trace a run, exported over OTLP from its records once it has ended."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from ulid import ULID

from demo.aws.clients import clients
from receiver.edges import Edges
from receiver.http.access.callers import Role
from receiver.notify.tails import TracingError
from receiver.settings import Settings
from receiver.system import build
from tests.api_fixtures import HOSTS, Live, live


@dataclass
class Collector:
    """Takes OTLP over HTTP, or answers with another `status`."""

    url: str = ""
    status: int = 200
    spans: list[Any] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    answered: threading.Event = field(default_factory=threading.Event)

    def receive(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            named = {item.key: item.value.string_value for item in group.resource.attributes}
            self.services.add(named["service.name"])
            self.spans += [span for scope in group.scope_spans for span in scope.spans]
        self.answered.set()

    def of(self, run_id: str) -> list[Any]:
        """The spans of a run's trace, once they have arrived."""
        for _ in range(100):
            trace = int(ULID.from_str(run_id)).to_bytes(16)
            spans = [span for span in self.spans if span.trace_id == trace]
            if spans:
                return spans
            self.answered.clear()
            self.answered.wait(0.2)
        raise AssertionError("no trace of the run arrived")


@contextmanager
def _running_collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.status == httpx.codes.OK:
                collector.receive(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            collector.answered.set()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with _running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("traces"), otlp_url=collector.url) as service:
        yield service


def test_a_run_is_one_trace_from_its_alert_to_its_recovery(
    service: Live, collector: Collector
) -> None:
    """All spans are children of the root, in order, with the call to AWS among them."""
    run = service.until(service.start("acting", HOSTS[0])["id"], "succeeded")
    spans = collector.of(run["id"])
    (root,) = [span for span in spans if not span.parent_span_id]
    assert collector.services == {"smartcloudops"}
    assert {span.parent_span_id for span in spans} == {b"", root.span_id}
    names = [span.name for span in spans]
    for name in ("alert", "received", "acting", "step reboot_instance"):
        assert names.count(name) == 1, names
    # One for each look, until samples are newer than the step.
    assert "verifying" in names
    assert names.count("reboot_instance") == 1
    assert len({span.span_id for span in spans}) == len(spans)
    for span in spans:
        assert root.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= root.end_time_unix_nano
    attributes = {item.key: item.value.string_value for item in root.attributes}
    assert (attributes["run"], attributes["state"], attributes["target"]) == (
        run["id"],
        "succeeded",
        HOSTS[0],
    )


def test_a_refused_alert_has_a_trace(service: Live, collector: Collector) -> None:
    """From the webhook on, without the alert's text."""
    alert = {"status": "firing", "labels": {"alertname": "Unknown", "note": "hush-hush"}}
    body = {"version": "4", "alerts": [alert]}
    service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
    (run,) = [
        run
        for run in service.call("GET", "/api/v1/runs", Role.VIEWER).json()["items"]
        if run["alert"]["labels"]["alertname"] == "Unknown"
    ]
    spans = collector.of(run["id"])
    (root,) = [span for span in spans if not span.parent_span_id]
    attributes = {item.key: item.value.string_value for item in root.attributes}
    assert attributes["refusal"] == "no_playbook"
    assert "hush-hush" not in str(spans)


def test_a_collector_that_is_down_blocks_no_run(service: Live, collector: Collector) -> None:
    """Its traces are lost, and the next ones are not."""
    collector.status = 400
    try:
        collector.answered.clear()
        service.until(service.start("acting", HOSTS[1], dry_run=True)["id"], "observed")
        assert collector.answered.wait(20)
    finally:
        collector.status = 200
    run = service.start("acting", HOSTS[2], dry_run=True)
    assert collector.of(run["id"])


def test_a_missing_package_for_traces_is_named(
    tmp_path: Path, service: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "receiver.notify.tracing", None)
    settings = Settings.model_validate(
        {"database_url": f"sqlite:///{tmp_path}/x.db", "otlp_url": "http://127.0.0.1:1/"}
    )
    with pytest.raises(TracingError, match=r"smartcloudops\[otel\]"):
        build(settings, service.system.playbooks, Edges(aws=clients(service.aws)))
