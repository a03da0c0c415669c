"""What people do over HTTP: hold and observe alerts, approve and deny, end cooldowns."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from demo.stack.processes import Processes
from receiver.http.access.callers import Role
from tests.end_to_end.service_process import Service

_MATCHER = {"name": "asg", "value": "web-asg", "isRegex": False, "isEqual": True}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("people")
    with Processes(folder / "logs") as processes:
        yield Service.make(folder, processes)


def _override(**changes: object) -> dict[str, object]:
    ends = datetime.now(UTC) + timedelta(hours=1)
    return {
        "matchers": [_MATCHER],
        "effect": "hold",
        "ends_at": ends.isoformat(),
        "comment": "migration",
    } | changes


def _add(service: Service, **changes: object) -> Any:
    return service.call("POST", "/api/v1/overrides", Role.OPERATOR, json=_override(**changes))


def _ended(service: Service, labels: dict[str, str]) -> dict[str, Any]:
    alert = {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
    assert service.deliver(alert).status_code == HTTPStatus.OK
    until = time.monotonic() + 20
    while True:
        path = f"/api/v1/runs?target={labels['instance_id']}"
        (run,) = service.call("GET", path, Role.VIEWER).json()["items"]
        if run["state"] not in {"received", "deciding"}:
            return dict(run)
        assert time.monotonic() < until, run
        time.sleep(0.05)


def test_a_hold_stops_what_it_names_until_it_is_ended(service: Service) -> None:
    """Shaped like a silence; who made it is who the token belongs to."""
    added = _add(service, created_by="somebody else")
    assert added.status_code == HTTPStatus.CREATED
    body = added.json()
    assert (body["created_by"], body["effect"], body["matchers"]) == (
        "operator",
        "hold",
        [_MATCHER],
    )
    listed = service.call("GET", "/api/v1/overrides", Role.VIEWER).json()
    assert [override["id"] for override in listed["items"]] == [body["id"]]
    labels = {"alertname": "HighCPU", "severity": "warning", "asg": "web-asg"}
    held = _ended(service, {**labels, "instance_id": "i-0123456789abcdef0"})
    assert (held["refusal"], "migration" in held["outcome"]) == ("override_hold", True)
    other = _ended(service, {**labels, "asg": "api-asg", "instance_id": "i-0123456789abcdef1"})
    assert other["refusal"] != "override_hold"
    path = f"/api/v1/overrides/{body['id']}"
    assert service.call("DELETE", path, Role.OPERATOR).status_code == HTTPStatus.OK
    assert service.call("DELETE", path, Role.OPERATOR).status_code == HTTPStatus.NOT_FOUND
    assert service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"] == []
    audit = service.call("GET", "/api/v1/audit?limit=1000", Role.VIEWER).json()["items"]
    events = {(record["event"], record["actor"]) for record in audit}
    assert {("override_added", "operator"), ("override_ended", "operator")} <= events


@pytest.mark.parametrize(
    "changes",
    [
        {"matchers": []},
        {"matchers": [{**_MATCHER, "value": "", "isRegex": False}]},
        {"matchers": [{**_MATCHER, "value": ".*", "isRegex": True}]},
        {"matchers": [{**_MATCHER, "value": "(", "isRegex": True}]},
        {"matchers": [{**_MATCHER, "name": "a b"}]},
        {"effect": "delete"},
        {"comment": " "},
        {"ends_at": "2020-01-01T00:00:00Z"},
        {"ends_at": "2200-01-01T00:00:00Z"},
        {"ends_at": "tomorrow"},
        {"ends_at": "2027-01-01T00:00:00"},
        {"starts_at": "2126-01-01T00:00:00Z"},
        {"colour": "red"},
        {"comment": "a\x00b"},
    ],
)
def test_an_override_that_is_none_is_refused_in_a_line(
    service: Service, changes: dict[str, object]
) -> None:
    """Nothing that would hold everything, or for ever."""
    answer = _add(service, **changes)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, answer.text
    assert "\n" not in answer.json()["detail"]
    assert service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"] == []


@pytest.mark.parametrize("begun", ["0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"])
def test_an_override_that_began_long_ago_begins_now(service: Service, begun: str) -> None:
    """No moment that cannot be shown again gets in."""
    added = _add(service, starts_at=begun)
    assert added.status_code == HTTPStatus.CREATED, added.text
    assert added.json()["starts_at"] > "2026"
    listed = service.call("GET", "/api/v1/overrides", Role.VIEWER)
    assert [override["id"] for override in listed.json()["items"]] == [added.json()["id"]]
    path = f"/api/v1/overrides/{added.json()['id']}"
    assert service.call("DELETE", path, Role.OPERATOR).status_code == HTTPStatus.OK


@pytest.mark.parametrize("verb", ["approve", "deny", "cancel", "rollback"])
def test_a_run_that_is_over_is_left_as_it_is(service: Service, verb: str) -> None:
    """With what is wrong in a line; and a run that nobody knows is not found."""
    labels = {"alertname": "Unknown", "instance_id": f"i-0123456789abcde{len(verb):02d}"}
    run = _ended(service, labels)
    body = {"comment": "why", "plan": "0" * 64}
    answer = service.call("POST", f"/api/v1/runs/{run['id']}/{verb}", Role.OPERATOR, json=body)
    assert answer.status_code == HTTPStatus.CONFLICT, answer.text
    nobody = service.call("POST", f"/api/v1/runs/{'0' * 26}/{verb}", Role.OPERATOR, json=body)
    assert nobody.status_code == HTTPStatus.NOT_FOUND
    silent = service.call("POST", f"/api/v1/runs/{run['id']}/{verb}", Role.OPERATOR, json={})
    assert silent.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_cooldown_is_shown_and_can_be_ended(service: Service) -> None:
    """Not one that a run holds."""
    with sqlite3.connect(service.folder / "state.db") as records:
        for target, held in (("i-0123456789abcdef7", 0), ("i-0123456789abcdef8", 1)):
            until = time.time() + 600
            row = (target, "0" * 26, 1, 0.0, until, held)
            names = "target, run_id, fence, claimed_at, cooldown_until, held"
            records.execute(f"INSERT INTO claims ({names}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608
    listed = service.call("GET", "/api/v1/cooldowns", Role.VIEWER).json()["items"]
    assert [(cooldown["target"][-1], cooldown["held"]) for cooldown in listed] == [
        ("7", False),
        ("8", True),
    ]
    assert "smartcloudops_cooldowns_active 2.0" in service.call("GET", "/metrics").text
    for target, status in (
        ("7", HTTPStatus.OK),
        ("7", HTTPStatus.NOT_FOUND),
        ("8", HTTPStatus.NOT_FOUND),
    ):
        path = f"/api/v1/cooldowns/i-0123456789abcdef{target}"
        assert service.call("DELETE", path, Role.OPERATOR).status_code == status


def test_playbooks_are_shown_as_they_are_loaded(service: Service) -> None:
    """With mode, limits and breaker."""
    items = service.call("GET", "/api/v1/playbooks", Role.VIEWER).json()["items"]
    by_name = {playbook["name"]: playbook for playbook in items}
    assert by_name["high-cpu"]["mode"] == "auto"
    assert by_name["high-cpu"]["limits"]["target_per_hour"] == 3
    assert by_name["critical-failure"]["steps"][0]["ask"] is True
    assert by_name["high-cpu"]["breaker"] == {"failures": 0, "opened_at": None}


def test_the_document_names_its_security_scheme(service: Service) -> None:
    """What every guarded call refers to is there."""
    document = service.call("GET", "/openapi.json").json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_records_that_cannot_be_reached_are_a_503(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Not a stack trace."""
    folder = tmp_path_factory.mktemp("broken")
    with Processes(folder / "logs") as processes:
        own = Service.make(folder, processes)
        with sqlite3.connect(folder / "state.db") as records:
            records.execute("ALTER TABLE overrides RENAME TO gone")
        answer = own.call("GET", "/api/v1/overrides", Role.VIEWER)
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert answer.json()["detail"] == "the records cannot be reached"


def test_only_an_admin_pauses_everything(service: Service) -> None:
    """An operator's pause starts nothing new; rollbacks and escalations need an admin's word."""
    body = {"comment": "stop", "everything": True}
    refused = service.call("POST", "/api/v1/pause", Role.OPERATOR, json=body)
    assert refused.status_code == HTTPStatus.FORBIDDEN
    paused = service.call("POST", "/api/v1/pause", Role.ADMIN, json=body).json()
    assert (paused["paused"], paused["everything"]) == (True, True)
    again = service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "too"}).json()
    assert (again["paused"], again["everything"]) == (True, True)
    resumed = service.call("POST", "/api/v1/resume", Role.OPERATOR, json={"comment": "go"}).json()
    assert (resumed["paused"], resumed["everything"]) == (False, False)
