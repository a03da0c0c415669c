"""The service over real HTTP: what it takes, what it refuses, and what survives."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from actions.reasons import Reason
from demo.stack.processes import Processes
from receiver.http.access.auth import ROLE
from receiver.http.access.callers import Role
from tests.end_to_end.service_process import Service

_KEYS = {
    "id",
    "state",
    "refusal",
    "outcome",
    "alert",
    "target",
    "group",
    "playbook",
    "verdict",
    "gates",
    "plan",
    "approval",
    "approvals",
    "asked",
    "question",
    "mark",
    "acknowledged",
    "caused_by",
    "relapsed_by",
    "waits_until",
    "steps",
    "captures",
    "received_at",
    "decided_at",
    "ended_at",
    "next_act_at",
    "account",
    "region",
}


def _alert(number: int = 0, **changes: Any) -> dict[str, Any]:
    labels = {"alertname": "HighCPU", "severity": "warning", "number": str(number)}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": "2026-11-23T06:39:31.435Z",
        "endsAt": "0001-01-01T00:00:00Z",
    } | changes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with Processes(folder / "logs") as processes:
        yield Service.make(folder, processes)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service that a test may break."""
    with Processes(tmp_path / "logs") as processes:
        yield Service.make(tmp_path, processes)


def _runs(service: Service, query: str = "") -> list[dict[str, Any]]:
    """All runs, newest first, page by page."""
    runs: list[dict[str, Any]] = []
    cursor = ""
    while True:
        path = f"/api/v1/runs?limit=500{query}{cursor}"
        page = service.call("GET", path, Role.VIEWER).json()
        runs += page["items"]
        if page["next_cursor"] is None:
            return runs
        cursor = f"&cursor={page['next_cursor']}"


def _problem(answer: Any, status: HTTPStatus) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["title"]) == (status, status.phrase)
    assert "\n" not in body["detail"]
    assert "Traceback" not in answer.text
    detail: str = body["detail"]
    return detail


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", HTTPStatus.BAD_REQUEST),
        (b"alert!", HTTPStatus.BAD_REQUEST),
        (b'{"version": "4", "alerts": [', HTTPStatus.BAD_REQUEST),
        (b"\xff\xfe\x00", HTTPStatus.BAD_REQUEST),
        (b"[" * 100_000, HTTPStatus.BAD_REQUEST),
        (b'{"version": "3", "alerts": []}', HTTPStatus.UNPROCESSABLE_ENTITY),
        (b'{"text": "a custom payload"}', HTTPStatus.UNPROCESSABLE_ENTITY),
        (b'{"version": "4"}', HTTPStatus.UNPROCESSABLE_ENTITY),
        (b'{"version": "4", "alerts": "all"}', HTTPStatus.UNPROCESSABLE_ENTITY),
        (b"null", HTTPStatus.UNPROCESSABLE_ENTITY),
        (b" " * 20_000_000, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_a_body_that_is_no_delivery_gets_one_clear_line(
    service: Service, content: bytes, status: HTTPStatus
) -> None:
    """The status that says whether Alertmanager should try again, and why in one line."""
    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, content=content)
    _problem(answer, status)


def test_a_body_without_a_length_is_stopped_at_the_limit(service: Service) -> None:
    """Chunked, it could go on for ever."""

    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 2**20

    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, content=endless())  # type: ignore[arg-type] # a stream
    _problem(answer, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def test_what_is_valid_in_a_bad_delivery_is_not_lost(service: Service) -> None:
    """Three that are no alerts, one that is odd, one that is fine."""
    odd = _alert(9001, startsAt="yesterday")
    answer = service.deliver(7, None, {"labels": None}, odd, _alert(9002))
    assert answer.json() == {"accepted": 2, "duplicates": 0, "resolved": 0, "rejected": 3}
    by_number = {run["alert"]["labels"].get("number"): run for run in _runs(service)}
    assert "9002" in by_number
    assert _ended(service, by_number["9001"]["id"])["refusal"] == "malformed_alert"


def test_hostile_text_is_stored_as_it_is_and_given_back(service: Service) -> None:
    """Markup, SQL, controls, bidirectional marks, and far too much of it."""
    nasty = "<script>\"'; DROP TABLE runs; --\u202e\u0000\n${jndi:ldap://x}"
    labels = {"alertname": nasty, "asg": "../../etc", "instance_id": "i-*", "big": "x" * 100_000}
    assert service.deliver(_alert(labels=labels)).json()["accepted"] == 1
    (run,) = [run for run in _runs(service) if run["alert"]["labels"]["alertname"] == nasty]
    ended = _ended(service, run["id"])
    assert (ended["refusal"], ended["target"]) == ("malformed_alert", None)


def _ended(service: Service, run_id: str) -> dict[str, Any]:
    until = time.monotonic() + 30
    while True:
        run: dict[str, Any] = service.call("GET", f"/api/v1/runs/{run_id}", Role.VIEWER).json()
        if run["ended_at"]:
            return run
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_run_is_listed_as_soon_as_it_is_acknowledged_and_has_every_key(
    service: Service,
) -> None:
    """A list shows all but the evidence, and every key is there."""
    service.deliver(_alert(9100, fingerprint="d76ace51dbbb114a"))
    run = _runs(service)[0]
    assert set(run) == _KEYS
    assert run["alert"]["fingerprint"] == "d76ace51dbbb114a"
    story = service.call("GET", f"/api/v1/runs/{run['id']}", Role.VIEWER).json()
    assert set(story) == _KEYS | {"evidence", "caused"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", story["received_at"])


def test_filters_and_pages_show_each_run_once(service: Service) -> None:
    """By state, by target, and through small pages."""
    instance = "i-0123456789abcdef0"
    labels = {"alertname": "Paged", "instance_id": instance, "asg": "web-asg"}
    service.deliver(*(_alert(labels=labels | {"n": str(n)}) for n in range(7)))
    for run in _runs(service):
        _ended(service, run["id"])
    whole = [run["id"] for run in _runs(service, f"&target={instance}")]
    assert len(whole) == 7
    paged: list[str] = []
    more = ""
    for _ in range(3):
        query = f"/api/v1/runs?limit=3&target={instance}{more}"
        page = service.call("GET", query, Role.VIEWER).json()
        paged += [run["id"] for run in page["items"]]
        more = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert paged == whole == sorted(whole, reverse=True)
    assert _runs(service, "&state=succeeded") == []
    for bad in ("state=nonsense", "limit=0", "limit=1001", "since=yesterday"):
        _problem(
            service.call("GET", f"/api/v1/runs?{bad}", Role.VIEWER),
            HTTPStatus.UNPROCESSABLE_ENTITY,
        )
    _problem(service.call("GET", "/api/v1/runs/nobody", Role.VIEWER), HTTPStatus.NOT_FOUND)


def test_fifty_copies_at_once_are_one_run(service: Service) -> None:
    """Two Alertmanagers, retries and repeats."""
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: service.deliver(_alert(9200)).json(), range(50)))
    assert sum(answer["accepted"] for answer in answers) == 1
    assert sum(answer["duplicates"] for answer in answers) == 49


def test_open_routes_are_only_the_three(service: Service) -> None:
    """Health, readiness and metrics; everything else names a role."""
    paths = service.call("GET", "/openapi.json").json()["paths"]
    open_ones = {
        path
        for path, operations in paths.items()
        if any(ROLE not in operation for operation in operations.values())
    }
    assert open_ones == {"/healthz", "/readyz", "/metrics"}
    for path in open_ones:
        assert service.call("GET", path).status_code == HTTPStatus.OK
    _problem(service.call("GET", "/nothing"), HTTPStatus.NOT_FOUND)
    _problem(service.call("PUT", "/healthz"), HTTPStatus.METHOD_NOT_ALLOWED)


def test_the_kill_switch_needs_a_reason_and_is_on_record(service: Service) -> None:
    """Who, why and when; a comment of spaces is none."""
    for body in ({}, {"comment": ""}, {"comment": "  "}, {"comment": "x", "more": 1}):
        answer = service.call("POST", "/api/v1/pause", Role.OPERATOR, json=body)
        _problem(answer, HTTPStatus.UNPROCESSABLE_ENTITY)
    paused = service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "deploy"})
    assert (paused.json()["paused"], paused.json()["changed_by"]) == (True, "operator")
    assert 'smartcloudops_paused{account="",region=""} 1.0' in service.call("GET", "/metrics").text
    service.deliver(
        _alert(
            9300,
            labels={
                "alertname": "HighCPU",
                "severity": "warning",
                "instance_id": "i-0123456789abcdef1",
                "asg": "other",
            },
        )
    )
    assert _ended(service, _runs(service)[0]["id"])["refusal"] == "paused"
    resumed = service.call("POST", "/api/v1/resume", Role.OPERATOR, json={"comment": "done"})
    assert resumed.json()["paused"] is False
    records = service.call("GET", "/api/v1/audit?limit=1000", Role.VIEWER).json()["items"]
    entries = [
        (record["event"], record["actor"], record["detail"].get("comment")) for record in records
    ]
    assert ("paused", "operator", "deploy") in entries
    assert ("resumed", "operator", "done") in entries
    assert service.call("GET", "/api/v1/audit/verify", Role.VIEWER).json()["ok"]


def test_every_metric_of_the_contract_starts_at_zero(own: Service) -> None:
    """All names, each label combination that can occur, and no id in a label."""
    text = own.call("GET", "/metrics").text
    for name in (
        "alerts_received_total",
        "alerts_duplicate_total",
        "runs_total",
        "refusals_total",
        "actions_total",
        "action_duration_seconds",
        "verdicts_total",
        "verdict_score",
        "recheck_duration_seconds",
        "decision_duration_seconds",
        "alert_to_action_seconds",
        "time_to_recovery_seconds",
        "runs_in_flight",
        "awaiting_approval",
        "paused",
        "cooldowns_active",
        "webhook_duration_seconds",
        "model_info",
        "build_info",
    ):
        assert f"# TYPE smartcloudops_{name.removesuffix('_total')}" in text, name
    for reason in Reason:
        assert f'smartcloudops_refusals_total{{reason="{reason}"}} 0.0' in text
    assert 'smartcloudops_actions_total{action="reboot_instance",outcome="unknown"} 0.0' in text
    assert 'smartcloudops_runs_total{playbook="high-cpu",state="succeeded"} 0.0' in text


def test_ten_thousand_alerts_in_one_group_all_end_explained(own: Service) -> None:
    """All are acknowledged, the service stays ready, and none is left without a reason."""
    many = [_alert(number, labels={"alertname": "X", "n": str(number)}) for number in range(10_000)]
    answer = own.deliver(*many)
    assert answer.json() == {"accepted": 10_000, "duplicates": 0, "resolved": 0, "rejected": 0}
    assert own.call("GET", "/readyz").status_code == HTTPStatus.OK
    until = time.monotonic() + 150
    while 'smartcloudops_refusals_total{reason="no_playbook"} 10000.0' not in (
        text := own.call("GET", "/metrics").text
    ):
        assert time.monotonic() < until, text
        time.sleep(0.5)
    assert own.deliver(*many[:100]).json()["duplicates"] == 100


def test_bad_bodies_do_not_fill_the_memory(own: Service) -> None:
    """Two hundred megabytes of nonsense leave no trace."""
    own.call("POST", "/webhook/alertmanager", Role.WEBHOOK, content=b"[" * 10_000_000)
    before = own.resident_mb()
    for _ in range(20):
        own.call("POST", "/webhook/alertmanager", Role.WEBHOOK, content=b"[" * 10_000_000)
        own.call("POST", "/webhook/alertmanager", Role.WEBHOOK, content=b" " * 20_000_000)
    assert own.resident_mb() < before + 60


def test_what_was_acknowledged_survives_a_kill(own: Service) -> None:
    """SIGKILL right after the answer; after the restart it is there, and known."""
    alerts = [_alert(number) for number in range(200)]
    assert own.deliver(*alerts).json()["accepted"] == 200
    own.kill()
    own.start()
    assert len(_runs(own)) == 200
    assert own.deliver(*alerts).json()["duplicates"] == 200


def test_what_cannot_be_stored_is_not_acknowledged(own: Service) -> None:
    """A locked inbox: 503, so that Alertmanager keeps it, and taken once it can be."""
    lock = sqlite3.connect(own.folder / "state-inbox.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert "not stored" in _problem(own.deliver(_alert()), HTTPStatus.SERVICE_UNAVAILABLE)
    lock.execute("ROLLBACK")
    assert own.deliver(_alert()).json()["accepted"] == 1


def test_a_clean_stop_ends_well(own: Service) -> None:
    """SIGTERM: what was taken is on disk, the exit status is 0."""
    own.deliver(_alert())
    assert own.child is not None
    own.child.stop(grace_s=20)
    assert own.child.popen.returncode == 0
    own.start()
    assert len(_runs(own)) == 1


def test_the_log_tells_each_event_in_a_line_and_no_secret(service: Service) -> None:
    """JSON, one line an event, no token in it."""
    service.call("GET", "/api/v1/runs", headers={"Authorization": "Bearer wrong-secret"})
    lines = [json.loads(line) for line in service.log().splitlines()]
    assert {"timestamp", "level", "event"} <= set(lines[-1])
    for secret in (*service.tokens.values(), "wrong-secret"):
        assert secret not in service.log()
