"""From observe to auto and back over HTTP and the console, as an admin does it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.console.console_fixtures import Visitor


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("promotion")
    with live(folder, profile="production", arming_evidence=1, arming_agreement=0.2) as service:
        yield service


def _say(service: Live, verb: str, playbook: str = "acting", /, **fields: Any) -> httpx.Response:
    body = {"comment": "why", **fields}
    return service.call("POST", f"/api/v1/playbooks/{playbook}/{verb}", Role.ADMIN, json=body)


def _shown(service: Live, playbook: str = "acting") -> dict[str, Any]:
    items = service.call("GET", "/api/v1/playbooks", Role.VIEWER).json()["items"]
    return next(item for item in items if item["name"] == playbook)


def _ended(service: Live, target: str, *, approve: bool = False) -> dict[str, Any]:
    """A run by hand of `acting`, at its end; it is approved where it asks."""
    service.forget()
    run_id = service.start("acting", target)["id"]
    if approve:
        service.approve(service.until(run_id, "awaiting_approval"))
    return service.until(run_id, "observed", "succeeded", "failed", "refused")


def _alerted(service: Live, target: str, *, approve: bool = False) -> dict[str, Any]:
    """As `_ended`, of an alert."""
    service.forget()
    labels = {"alertname": "acting", "instance_id": target, "asg": GROUP}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": target[-16:],
    }
    sent = {"version": "4", "alerts": [alert]}
    service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=sent)
    found = service.call("GET", f"/api/v1/runs?target={target}", Role.VIEWER).json()["items"]
    run_id = found[0]["id"]
    if approve:
        service.approve(service.until(run_id, "awaiting_approval"))
    return service.until(run_id, "observed", "succeeded", "failed", "refused")


def test_a_playbook_goes_from_observe_to_auto_on_its_record_and_back(service: Live) -> None:
    """Each step is refused until the figures are there, and keeps those it was taken on."""
    assert (_shown(service)["goes"], _shown(service)["armings"]) == ("observe", [])
    refused = _say(service, "arm", mode="auto")
    assert refused.status_code == HTTPStatus.CONFLICT
    assert "arm it to approve first" in refused.json()["detail"]
    assert "0 observed" in _say(service, "arm", mode="approve").json()["detail"]
    service.start("acting", HOSTS[0], dry_run=True)
    assert _say(service, "arm", mode="approve").status_code == HTTPStatus.CONFLICT

    # Who starts a run by hand chooses it: it is no evidence, and neither is one nobody judged.
    assert _ended(service, HOSTS[3])["state"] == "observed"
    run = _alerted(service, HOSTS[0])
    assert run["state"] == "observed"
    assert "the playbook is not armed" in run["gates"][-1]["detail"]
    assert "0 observed incidents" in _say(service, "arm", mode="approve").json()["detail"]
    path = f"/api/v1/runs/{run['id']}/mark"
    service.call("POST", path, Role.OPERATOR, json={"right": True, "comment": "it did hang"})
    arming = _say(service, "arm", mode="approve").json()
    assert (arming["mode"], arming["by"], arming["despite"]) == ("approve", "admin", [])
    assert arming["justification"].items() >= {"planned": 2, "observed": 2, "acted": 0}.items()
    assert arming["justification"].items() >= {"incidents": 1, "agreed": 1, "earned": True}.items()
    assert "0 incidents in which it acted" in _say(service, "arm", mode="auto").json()["detail"]

    assert _alerted(service, HOSTS[1], approve=True)["state"] == "succeeded"
    arming = _say(service, "arm", mode="auto", service=GROUP).json()
    # What was observed before is not counted again.
    assert arming["justification"].items() >= {"observed": 0, "acted": 1, "recovered": 1}.items()
    assert arming["justification"]["since"] is not None
    assert _ended(service, HOSTS[2])["state"] == "succeeded"
    assert [arming["service"] for arming in _shown(service)["armings"]] == [None, GROUP]
    metrics = service.call("GET", "/metrics").text
    assert 'smartcloudops_playbook_armed{mode="auto",playbook="acting"} 1.0' in metrics
    assert 'smartcloudops_playbook_armed{mode="auto",playbook="asking"} 0.0' in metrics

    assert _say(service, "disarm").json()["mode"] == "observe"
    assert _ended(service, HOSTS[3])["state"] == "observed"
    assert [arming["service"] for arming in _shown(service)["armings"]] == [None]
    events = [(record["event"], record["actor"]) for record in service.audit()]
    assert events.count(("playbook_armed", "admin")) == 2
    assert events.count(("playbook_disarmed", "admin")) == 1
    assert service.call("GET", "/api/v1/audit/verify", Role.VIEWER).json()["ok"]


def test_what_people_marked_wrong_stands_in_the_way(service: Live) -> None:
    """Until it is answered: by marking it again, or by force, which is on record."""
    run = _ended(service, HOSTS[0])
    path = f"/api/v1/runs/{run['id']}/mark"
    service.call("POST", path, Role.OPERATOR, json={"right": False, "comment": "a batch job"})
    assert (
        "marked 1 of the playbook's runs as wrong"
        in _say(service, "arm", mode="approve").json()["detail"]
    )
    forced = _say(service, "arm", mode="auto", force=True).json()
    assert forced["despite"] == [
        "people marked 1 of the playbook's runs as wrong",
        "the playbook is at observe: arm it to approve first",
        "0 incidents in which it acted with a known result (verified recoveries), and 1 are needed",
        "0 of 0 incidents were right: the lower 95 % bound is 0.00, and 0.2 is needed",
    ]
    record = next(record for record in service.audit() if record["event"] == "playbook_armed")
    assert record["detail"]["despite"] == forced["despite"]
    assert record["detail"]["figures"]["wrong"] == 1


def test_a_canary_leaves_the_others_observed(service: Live) -> None:
    """Which targets it takes is the same each time."""
    assert _say(service, "arm", mode="auto", canary_percent=50, force=True).status_code == 200
    states = {host: _ended(service, host)["state"] for host in HOSTS}
    assert set(states.values()) == {"succeeded", "observed"}
    left = next(host for host, state in states.items() if state == "observed")
    run = _ended(service, left)
    assert "not among the 50 % of targets" in run["gates"][-1]["detail"]


def test_what_cannot_be_meant_is_refused(service: Live) -> None:
    """Disarming has a call of its own."""
    for body in (
        {"mode": "observe"},
        {"comment": " "},
        {"canary_percent": 0},
        {"canary_percent": 101},
        {"service": ""},
        {"service": "web\nasg"},
    ):
        answer = _say(service, "arm", **{"mode": "auto", **body})
        assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, body
    assert _say(service, "arm", "none", mode="auto").status_code == HTTPStatus.NOT_FOUND
    assert _say(service, "disarm", "none").status_code == HTTPStatus.NOT_FOUND


def test_no_arming_exceeds_the_services_own_mode(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Not by force either."""
    with live(tmp_path_factory.mktemp("lower"), profile="production", mode="approve") as service:
        refused = _say(service, "arm", mode="auto", force=True)
        assert refused.status_code == HTTPStatus.CONFLICT
        assert refused.json()["detail"] == "the service's own mode is approve"


def test_in_development_a_disarming_holds_until_it_is_armed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nothing needs to be armed there, and to arm again needs no record."""
    with live(tmp_path_factory.mktemp("development")) as service:
        assert _ended(service, HOSTS[0])["state"] == "succeeded"
        _say(service, "disarm")
        assert _ended(service, HOSTS[1])["state"] == "observed"
        assert _say(service, "arm", mode="auto").status_code == HTTPStatus.OK
        assert _ended(service, HOSTS[2])["state"] == "succeeded"


def test_the_console_arms_and_disarms_with_one_click(service: Live) -> None:
    """For admins; others see how it is armed, and on what record."""
    visitor = Visitor(service=service)
    with visitor.http:
        visitor.log_in(Role.ADMIN, then="/playbooks/acting")
        assert "it is not armed" in visitor.page.text
        fields = {"mode": "auto", "service": GROUP, "canary_percent": "25", "comment": "go <b>"}
        assert "arm it to approve first" in visitor.submit("/playbooks/acting/arm", **fields).text
        visitor.get("/playbooks/acting")
        page = visitor.submit("/playbooks/acting/arm", **fields, force="yes").text
        for text in ("Armed in mode auto", "canary: 25 %", "go &lt;b&gt;", "forced", "observed"):
            assert text in page
        assert f"Disarm for {GROUP}" in page
        visitor.post("/playbooks/acting/disarm", {"comment": "without the page's own secret"})
        assert visitor.page.status_code == HTTPStatus.FORBIDDEN
        visitor.get("/playbooks/acting")
        page = visitor.submit("/playbooks/acting/disarm", service="", comment="one click").text
        assert "Disarmed" in page
        assert _shown(service)["armings"][0]["mode"] == "observe"
    other = Visitor(service=service)
    with other.http:
        other.log_in(Role.OPERATOR, then="/playbooks/acting")
        assert "Disarmed" in other.page.text
        assert "/disarm" not in other.page.text
        answer = other.submit("/playbooks/acting/arm", **fields)
        assert answer.status_code == HTTPStatus.FORBIDDEN
