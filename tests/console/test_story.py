"""A run's page: its story in order of time, each reason once, and where to look further."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote_plus

import pytest

from receiver.console.runs.links import links_of
from receiver.http.access.callers import Role
from receiver.settings import Settings
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.console.console_fixtures import Visitor
from tests.console.test_now_and_find import ended, fire


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("story")) as service:
        yield service


@pytest.fixture
def visitor(service: Live) -> Iterator[Visitor]:
    visitor = Visitor(service=service)
    with visitor.http:
        visitor.log_in(Role.OPERATOR)
        yield visitor


def _story(visitor: Visitor, run_id: str) -> list[str]:
    """The headings of the events."""
    timeline = visitor.get(f"/runs/{run_id}").text.split('id="timeline"')[1].split("</ol>\n")[0]
    return [
        unescape(re.sub(r"<[^>]+>", "", text)) for text in re.findall("<h2>(.*?)</h2>", timeline)
    ]


def test_both_decisions_of_an_approved_run_are_told_in_order(visitor: Visitor) -> None:
    """The one that asked, the person, and the one that acted; then the step and the end."""
    run = visitor.service.asking(HOSTS[0])
    visitor.service.approve(run)
    visitor.service.until(run["id"], "succeeded")
    told = [text for text in _story(visitor, run["id"]) if not text.startswith("Evidence")]
    # The reasons of the second verdict are those of the first.
    assert visitor.page.text.count("up holds") == 1
    assert told == [
        "Started manually by operator",
        f"Decided: ask a person, reboot instance on {HOSTS[0]}",
        "Approved by operator",
        f"Decided: act, reboot instance on {HOSTS[0]}",
        f"reboot instance on {HOSTS[0]} done",
        "The target looks recovered",
        "Ended: recovered",
    ]


def test_a_rollback_comes_after_the_end_that_it_changes(visitor: Visitor) -> None:
    """Both ends are told, and who ordered it."""
    run = visitor.service.until(visitor.service.start("growing", GROUP)["id"], "succeeded")
    body = {"comment": "a test"}
    visitor.service.call("POST", f"/api/v1/runs/{run['id']}/rollback", Role.OPERATOR, json=body)
    visitor.service.until(run["id"], "rolled_back")
    told = _story(visitor, run["id"])
    assert told[-4:] == [
        "Ended: recovered",
        "Rollback ordered by operator",
        f"Rollback: scale in on {GROUP} done",
        "Ended: rolled back",
    ]


def test_a_refuted_verdict_tells_its_reasons_once(visitor: Visitor) -> None:
    """On its page; the headline and the gate say only what that means."""
    visitor.service.prometheus.value = "0"
    fire(visitor.service, HOSTS[3], "acting")
    (run_id,) = ended(visitor.service, 1, f"target={HOSTS[3]}")
    visitor.service.prometheus.value = "1"
    page = visitor.get(f"/runs/{run_id}").text
    assert page.count("up does not hold") == 1
    assert "left alone: not an incident" in page
    assert "the re-check found no incident" in page


def test_the_question_tells_its_consequences_everywhere(visitor: Visitor) -> None:
    """On Now, on the run's page and in the API it is one text."""
    run = visitor.service.asking(HOSTS[4])
    assert "in web-asg? " in run["question"]
    assert " of " in run["question"].split("stay in service")[0]
    assert "If it does not help: a person is needed." in run["question"]
    # An earlier test has approved such a run.
    assert "Takes about" in run["question"]
    for path in ("/", f"/runs/{run['id']}"):
        assert run["question"] in unescape(visitor.get(path).text)
    visitor.submit(f"/runs/{run['id']}/deny", comment="no", digest=visitor.digest())
    assert visitor.service.until(run["id"], "cancelled")["question"] is None


def test_links_lead_to_this_alert_and_this_target() -> None:
    """Within the service and out of it; what an annotation names must be http."""
    run = {
        "id": "r",
        "asked": None,
        "target": HOSTS[0],
        "group": GROUP,
        "playbook": "high-cpu",
        "region": "eu-west-1",
        "evidence": None,
        "decided_at": "2026-11-24T10:00:00Z",
        "received_at": "2026-11-24T10:00:00Z",
        "plan": None,
        "steps": [{"made": {"command_id": "c-1"}}],
        "alert": {
            "labels": {"alertname": "HighCPU", "instance_id": HOSTS[0]},
            "annotations": {"runbook_url": "https://wiki/cpu", "dashboard_url": "javascript:x"},
        },
    }
    settings = Settings(
        grafana_url="https://grafana.example/d/hosts?var-host=$instance_id&var-name=$alertname&x=$x"
    )
    links = {link.text: link.url for link in links_of(run, settings, "http://prom/")}
    assert links["Dashboard in Grafana"] == (
        f"https://grafana.example/d/hosts?var-host={HOSTS[0]}&var-name=HighCPU&x="
        "&from=1795512600000&to=1795516200000"
    )
    alert = unquote_plus(links["Alert in Prometheus"])
    assert f'ALERTS{{alertname="HighCPU", instance_id="{HOSTS[0]}"}}' in alert
    assert "g0.end_input=2026-11-24 10:30:00" in alert
    assert f"region=eu-west-1#InstanceDetails:instanceId={HOSTS[0]}" in links["Instance in AWS"]
    assert links["Command in AWS"].endswith("/run-command/c-1?region=eu-west-1")
    assert links["Runbook at wiki"] == "https://wiki/cpu"
    assert "silences/new?filter=" in links["Silence in Alertmanager"]
    assert links["Hold its group"] == "/controls?matchers=asg%3D%22web-asg%22#new"
    assert not any("javascript" in url for url in links.values())
