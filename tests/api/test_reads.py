"""A read writes nothing, and shows an alert as a run as soon as its delivery was answered."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import pytest
from sqlalchemy import Connection, event

from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, HOSTS, Live, live


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("reads")) as service:
        yield service


@pytest.fixture
def writes(service: Live) -> Iterator[list[str]]:
    """The write transactions that requests begin; those of the service's own threads are not."""
    begun: list[str] = []

    def note(connection: Connection) -> None:
        options = connection.get_execution_options()
        reads = options.get("snapshot") or options.get("alone")
        if not reads and threading.current_thread().name.startswith("AnyIO"):
            begun.append("write")

    engines = [service.system.database.engine, service.system.inbox.database.engine]
    for engine in engines:
        event.listen(engine, "begin", note)
    yield begun
    for engine in engines:
        event.remove(engine, "begin", note)


@pytest.fixture
def idle(service: Live) -> Iterator[Live]:
    """The service without its dispatcher, as on a replica that does not lead."""
    service.system.dispatcher.stop()
    yield service
    service.system.dispatcher.start()
    service.forget()


def _deliver(service: Live, target: str) -> None:
    labels = {"alertname": "Odd", "instance_id": target, "asg": GROUP}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": target[-16:],
    }
    body = {"version": "4", "alerts": [alert]}
    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
    assert answer.json()["accepted"] == 1, answer.text


def _listed(service: Live, target: str) -> dict[str, Any]:
    path = f"/api/v1/runs?state=received&target={target}"
    (run,) = service.call("GET", path, Role.VIEWER).json()["items"]
    return dict(run)


def test_reads_show_an_acknowledged_alert_and_write_nothing(idle: Live, writes: list[str]) -> None:
    _deliver(idle, HOSTS[0])
    run = _listed(idle, HOSTS[0])
    assert (run["state"], run["target"], run["group"]) == ("received", HOSTS[0], GROUP)
    whole = idle.call("GET", f"/api/v1/runs/{run['id']}", Role.VIEWER).json()
    assert whole == run | {"evidence": None, "caused": []}
    assert idle.call("GET", "/api/v1/runs", Role.VIEWER).json()["items"][0] == run
    assert writes == []
    with idle.system.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() == 0


def test_the_run_keeps_its_id_once_it_is_dispatched(service: Live) -> None:
    service.system.dispatcher.stop()
    _deliver(service, HOSTS[1])
    run = _listed(service, HOSTS[1])
    service.system.dispatcher.start()
    assert service.until(run["id"], "refused")["received_at"] == run["received_at"]


def test_a_person_cancels_a_run_that_is_still_in_the_inbox(idle: Live, writes: list[str]) -> None:
    _deliver(idle, HOSTS[2])
    run = _listed(idle, HOSTS[2])
    path = f"/api/v1/runs/{run['id']}"
    body = {"comment": "a test"}
    denied = idle.call("POST", f"{path}/deny", Role.OPERATOR, json={**body, "plan": "0" * 64})
    assert (denied.status_code, "received" in denied.text) == (HTTPStatus.CONFLICT, True)
    cancelled = idle.call("POST", f"{path}/cancel", Role.OPERATOR, json=body)
    assert (cancelled.status_code, cancelled.json()["state"]) == (HTTPStatus.OK, "cancelled")
    assert writes
    assert idle.call("GET", path, Role.VIEWER).json()["state"] == "cancelled"
    recorded = {record["event"]: record for record in idle.audit(run["id"])}
    assert recorded["run_cancelled_by_a_person"]["detail"]["origin"]["role"] == "operator"
    assert "origin" not in recorded["alert_received"]["detail"]
    listed = idle.call("GET", f"/api/v1/runs?target={HOSTS[2]}", Role.VIEWER).json()["items"]
    assert [(run["id"], run["state"]) for run in listed] == [(run["id"], "cancelled")]
