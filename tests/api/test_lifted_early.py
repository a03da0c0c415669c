"""What a person lifts early holds no alert back any longer."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, HOSTS, Live, live


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("lifted")) as service:
        yield service


def _deliver(service: Live, target: str, starts_at: str) -> dict[str, int]:
    alert = {
        "status": "firing",
        "labels": {"alertname": "acting", "instance_id": target, "asg": GROUP},
        "annotations": {},
        "startsAt": starts_at,
        "fingerprint": target[-16:],
    }
    body = {"version": "4", "alerts": [alert]}
    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
    return dict(answer.json())


def _newest(service: Live, target: str) -> str:
    path = f"/api/v1/runs?target={target}&limit=1"
    items: list[dict[str, Any]] = service.call("GET", path, Role.VIEWER).json()["items"]
    return str(items[0]["id"])


def _refused(service: Live, target: str, starts_at: str) -> str:
    """Deliver an alert; the reason why its run was refused, which its repeat does not change."""
    assert _deliver(service, target, starts_at)["accepted"] == 1
    run = service.until(_newest(service, target), "refused")
    assert _deliver(service, target, starts_at)["duplicates"] == 1
    return str(run["refusal"])


def _is_remedied(service: Live, target: str, starts_at: str) -> bool:
    """Whether a repeat of the alert is acted on."""
    accepted = _deliver(service, target, starts_at)["accepted"] == 1
    return accepted and bool(service.until(_newest(service, target), "succeeded"))


def test_a_hold_that_ends_early_lets_its_alerts_go_on(service: Live) -> None:
    """At their next repeat, and not when the hold would have ended."""
    hold, since = service.hold(GROUP), datetime.now(UTC).isoformat()
    assert _refused(service, HOSTS[0], since) == "override_hold"
    service.call("DELETE", f"/api/v1/overrides/{hold['id']}", Role.OPERATOR)
    assert _is_remedied(service, HOSTS[0], since)


def test_a_cooldown_that_ends_early_lets_its_alerts_go_on(service: Live) -> None:
    since = datetime.now(UTC).isoformat()
    service.until(service.start("acting", HOSTS[1])["id"], "succeeded")
    assert _refused(service, HOSTS[1], since) == "cooldown"
    service.call("DELETE", f"/api/v1/cooldowns/{HOSTS[1]}", Role.OPERATOR)
    assert _is_remedied(service, HOSTS[1], since)
