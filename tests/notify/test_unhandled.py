"""An alert that fires on though its run ended without remedy is given back to people."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import update

from receiver.db.tables import outbox
from receiver.http.access.callers import Role
from receiver.monitoring.alertmanager import Alertmanager
from receiver.notify.channels import Channels
from receiver.notify.unhandled import UnhandledAlerts
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.notify.test_notifier import Channel, running_channel


@pytest.fixture(scope="module")
def events() -> Iterator[Channel]:
    with running_channel() as channel:
        yield channel


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, events: Channel) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("unhandled")
    file = folder / "notify.conf"
    file.write_text(f"unhandled={events.url}\n")
    channels = Channels(Alertmanager("http://alertmanager", httpx.Client()), file)
    with live(
        folder,
        services=channels,
        mode="observe",
        unhandled_after="3s",
        public_url="https://ops.example/",
    ) as service:
        yield service


def _fire(service: Live, host: str, alertname: str = "acting", status: str = "firing") -> None:
    now = datetime.now(UTC)
    alert = {
        "status": status,
        "labels": {"alertname": alertname, "instance_id": host, "asg": GROUP},
        "startsAt": (now - timedelta(seconds=1)).isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
    }
    body = {"version": "4", "alerts": [alert]}
    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
    assert answer.status_code == httpx.codes.OK


def _newest(service: Live, host: str) -> str:
    answer = service.call("GET", f"/api/v1/runs?target={host}", Role.VIEWER).json()
    return str(answer["items"][0]["id"])


def _ended(service: Live, host: str, state: str) -> None:
    service.until(_newest(service, host), state)


def test_what_no_step_remedied_is_reported_by_alert_and_group(
    service: Live, events: Channel
) -> None:
    """Observed or refused, and still firing; not what was refuted or has resolved."""
    service.prometheus.value = "0"
    _fire(service, HOSTS[4])
    _ended(service, HOSTS[4], "refused")
    service.prometheus.value = "1"
    _fire(service, HOSTS[3])
    _ended(service, HOSTS[3], "observed")
    _fire(service, HOSTS[3], status="resolved")
    for host in HOSTS[:2]:
        _fire(service, host)
        _ended(service, host, "observed")
    _fire(service, HOSTS[2], "NoSuchAlert <!channel>")
    _ended(service, HOSTS[2], "refused")
    assert events.received == [], "before its time"
    message = events.until("Unhandled: acting in web-asg")
    assert message["message"].startswith("2 firing, and no step is under way: observed 2\n")
    assert "https://ops.example/runs/" in message["message"]
    assert "no_playbook 1" in events.until("Unhandled: an alert in web-asg")["message"]
    time.sleep(3.5)
    assert len(events.received) == 2, "each once"
    metrics = service.call("GET", "/metrics").text
    assert "smartcloudops_unhandled_total 3.0" in metrics


def test_people_are_reminded_after_four_hours_until_one_is_on_it(service: Live) -> None:
    """Also by another process."""
    system = service.system

    def stored() -> int:
        UnhandledAlerts(
            database=system.database,
            inbox=system.inbox,
            after_s=1,
            public_url=None,
            metrics=system.metrics.notify,
            clock=time.time,
        ).report()
        with system.database.read() as connection:
            rows = connection.execute(outbox.select()).all()
        # Other alerts of this service may become unhandled meanwhile.
        return sum("Reminded" in str(row) for row in rows)

    _fire(service, HOSTS[5], "Reminded")
    _ended(service, HOSTS[5], "refused")
    deadline = time.monotonic() + 20
    while not (before := stored()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert stored() == before
    with system.database.write() as connection:
        past = outbox.c.created_at - 4 * 3600
        connection.execute(update(outbox).values(created_at=past))
    assert stored() > before
    with system.database.write() as connection:
        connection.execute(update(outbox).values(created_at=past))
    reminded, run = stored(), _newest(service, HOSTS[5])
    answer = service.call(
        "POST", f"/api/v1/runs/{run}/acknowledge", Role.OPERATOR, json={"comment": "I am on it"}
    )
    assert (answer.status_code, answer.json()["acknowledged"]["by"]) == (200, "operator")
    with system.database.write() as connection:
        connection.execute(update(outbox).values(created_at=past))
    assert stored() == reminded, "somebody is on it"
