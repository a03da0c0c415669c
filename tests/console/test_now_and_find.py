"""The page Now and the search: what nobody is on comes first, a storm is one row."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from receiver.console.home.recent import Recent
from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.console.browser_fixtures import chromium, log_in, visit
from tests.console.console_fixtures import Visitor

_STORM = [f"i-{100 + number:017x}" for number in range(5)]


def fire(service: Live, host: str, alertname: str, group: str = GROUP, **labels: str) -> None:
    now = datetime.now(UTC)
    named = {"alertname": alertname, "instance_id": host, "asg": group, **labels}
    alert = {"status": "firing", "labels": named, "startsAt": now.isoformat()}
    alert["endsAt"] = (now + timedelta(hours=1)).isoformat()
    body = {"version": "4", "alerts": [alert]}
    answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
    assert answer.status_code == httpx.codes.OK


def ended(service: Live, count: int, query: str) -> list[str]:
    """The ids of so many ended runs, and their ends are known to the inbox."""
    deadline = time.monotonic() + 20
    while True:
        items = service.call("GET", f"/api/v1/runs?{query}", Role.VIEWER).json()["items"]
        ids = [str(run["id"]) for run in items if run["ended_at"]]
        known = service.system.inbox.episodes_of(ids)
        if len(ids) == count and all(known[run_id].ended_at for run_id in ids):
            return ids
        assert time.monotonic() < deadline, items
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A storm without a playbook, a runaway without a verdict, and a look-alike."""
    with live(tmp_path_factory.mktemp("now")) as service:
        for host in _STORM:
            fire(service, host, "NoSuchAlert", "api-asg", severity="critical")
        ended(service, len(_STORM), "group=api-asg")
        service.prometheus.value = "0"
        fire(service, HOSTS[4], "acting", instance="10.0.0.4:9100", nodename="web-4")
        ended(service, 1, f"target={HOSTS[4]}")
        service.prometheus.value = None
        fire(service, HOSTS[3], "acting", instance="10.0.0.3:9100", nodename="web-3")
        ended(service, 1, f"target={HOSTS[3]}")
        service.prometheus.value = "1"
        yield service


@pytest.fixture
def visitor(service: Live) -> Iterator[Visitor]:
    visitor = Visitor(service=service)
    with visitor.http:
        visitor.log_in(Role.OPERATOR)
        yield visitor


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclass
class Night:
    """A person at night, in a real browser; each click is counted."""

    page: Page
    clicks: int = 0

    def click(self, name: str, within: Locator | None = None) -> None:
        (within or self.page).get_by_role("link", name=name, exact=True).first.click()
        self.clicks += 1

    def begin(self) -> Page:
        self.page.goto("/")
        self.clicks = 0
        return self.page


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_the_seven_questions_of_the_night(
    browser: Browser, service: Live, tmp_path: Path, width: int
) -> None:
    """Each is answered within three clicks and thirty seconds, and no page is too wide."""
    waiting = service.asking(HOSTS[5])
    with visit(browser, service.url, viewport={"width": width, "height": 844}) as page:
        log_in(page, service)
        night = Night(page)
        for number, (ask, most) in enumerate(_QUESTIONS, 1):
            night.begin()
            began = time.monotonic()
            ask(night, waiting)
            assert time.monotonic() - began < 30, number
            assert night.clicks <= most, number
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, number
            page.screenshot(path=tmp_path / f"{number}.png", full_page=True)
    body = {"comment": "no", "plan": waiting["plan"]["digest"]}
    service.call("POST", f"/api/v1/runs/{waiting['id']}/deny", Role.OPERATOR, json=body)


def _what_waits(night: Night, _: dict[str, Any]) -> None:
    waits = night.page.get_by_role("region", name="Waiting for you")
    expect(waits.get_by_role("link", name=HOSTS[5])).to_be_visible()


def _is_anything_broken_that_nobody_is_on(night: Night, _: dict[str, Any]) -> None:
    broken = night.page.get_by_role("region", name="Firing, and nobody is on it")
    expect(broken.get_by_text("5 firing")).to_be_visible()
    expect(broken.get_by_role("link", name=HOSTS[3])).to_be_visible()
    expect(broken.get_by_role("link", name=HOSTS[4])).to_have_count(0)


def test_what_is_being_typed_on_now_is_kept(browser: Browser, service: Live) -> None:
    """The page changes under it, and waits."""
    with visit(browser, service.url) as page:
        log_in(page, service)
        field = page.get_by_placeholder("what you do about it").first
        field.fill("half a sent")
        service.start("growing", GROUP, dry_run=True)
        with page.expect_response(
            lambda answer: "/?version=" in answer.url and answer.status == HTTPStatus.OK
        ):
            pass
        expect(field).to_have_value("half a sent")
        page.wait_for_timeout(300)
        expect(field).to_have_value("half a sent")
        field.fill("")
        field.blur()
        expect(page.get_by_role("region", name="Ended").get_by_text("observed")).to_be_visible()


def _what_if_i_approve(night: Night, run: dict[str, Any]) -> None:
    night.click(f"manual run on {HOSTS[5]}")
    expect(night.page.locator("p.question")).to_have_text(run["question"])
    assert "stay in service; the limit is 1. AWS may take up to" in run["question"]


def _why_was_nothing_done_for_a_host(night: Night, _: dict[str, Any]) -> None:
    night.click("Runs")
    night.page.get_by_label("Find", exact=True).fill("web-3")
    night.page.get_by_role("button", name="Show").click()
    night.clicks += 1
    night.click("acting")
    expect(night.page.get_by_text("Decided: do nothing")).to_be_visible()
    expect(night.page.get_by_text("up has no answer")).to_be_visible()


def _everything_about_a_group(night: Night, _: dict[str, Any]) -> None:
    night.click("Runs")
    night.click(GROUP)
    expect(night.page.get_by_text("6 of 6 members serve")).to_be_visible()
    expect(night.page.get_by_role("heading", name="Latest runs")).to_be_visible()


def _is_the_service_well(night: Night, _: dict[str, Any]) -> None:
    lines = night.page.get_by_role("list", name="The service itself")
    for line in ("Last alert", "Prometheus", "AWS", "Model", "Leader", "Notifications", "Records"):
        expect(lines.get_by_role("link", name=line)).to_be_visible()


def _what_did_it_do_this_week(night: Night, _: dict[str, Any]) -> None:
    week = night.page.get_by_role("region", name="Seven days")
    expect(week.get_by_role("link", name="left alone, rightly 1")).to_be_visible()
    week.get_by_role("link", name="left alone, rightly 1").click()
    night.clicks += 1
    expect(night.page.get_by_text(HOSTS[4])).to_be_visible()


_QUESTIONS: Sequence[tuple[Callable[[Night, dict[str, Any]], None], int]] = (
    (_what_waits, 0),
    (_is_anything_broken_that_nobody_is_on, 0),
    (_what_if_i_approve, 1),
    (_why_was_nothing_done_for_a_host, 3),
    (_everything_about_a_group, 2),
    (_is_the_service_well, 0),
    (_what_did_it_do_this_week, 1),
)


def _section(page: str, name: str) -> str:
    found = re.search(rf'aria-labelledby="{name}">(.*?)</section>', page, re.DOTALL)
    assert found
    return unescape(found[1])


def test_what_nobody_is_on_comes_first(visitor: Visitor) -> None:
    """Not the look-alike, which is rightly left alone; the storm is one row with its count."""
    page = visitor.get("/").text
    assert re.findall(r'<section aria-labelledby="([\w-]+)"', page)[:3] == [
        "unhandled",
        "waiting",
        "in-flight",
    ]
    unhandled = _section(page, "unhandled")
    assert unhandled.count('<li class="run') == 2
    assert "5 firing" in unhandled
    assert "1 firing" in unhandled
    assert HOSTS[3] in unhandled
    assert HOSTS[4] not in unhandled
    assert "left alone: not an incident" in _section(page, "recent")
    assert "<strong>5 runs</strong>" in _section(page, "recent")


def test_every_tile_and_every_line_of_health_is_a_link_that_answers(visitor: Visitor) -> None:
    """Those of the seven days, too."""
    pages = visitor.get("/").text + visitor.get("/service").text
    tones = "multiple|wait|busy|good|bad|quiet"
    links = re.findall(rf'<a class="(?:{tones})[^"]*" href="([^"]+)"', pages)
    health = re.findall(r'<li class="(?:good|wait|bad)"><a href="([^"]+)"', pages)
    assert len(links) == 13
    assert len(health) >= 7
    for link in {unescape(link) for link in (*links, *health) if link.startswith("/")}:
        assert visitor.get(link).status_code == HTTPStatus.OK, link


def test_a_storm_is_acknowledged_at_once(visitor: Visitor) -> None:
    """Each of its runs, with the person; then it is no longer on the list."""
    visitor.get("/")
    subject = {"alertname": "NoSuchAlert", "where": "api-asg", "account": "", "region": ""}
    page = visitor.submit("/unhandled/acknowledge", comment="on it", **subject)
    assert page.url.path == "/"
    assert "NoSuchAlert" not in _section(page.text, "unhandled")
    runs = visitor.service.call("GET", "/api/v1/runs?group=api-asg", Role.VIEWER).json()["items"]
    assert [run["acknowledged"]["by"] for run in runs] == ["operator"] * len(_STORM)
    again = visitor.submit("/unhandled/acknowledge", comment="on it", **subject)
    assert again.status_code == HTTPStatus.CONFLICT


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("q=web-3", 1),
        ("q=10.0.0.3", 1),
        ("q=10.0.0. acting", 2),
        ("q=ACTING web-4", 1),
        ("q=nosuchalert", 5),
        ("q=verdict undecided", 1),
        ("q=no_playbook", 5),
        ("q=%", 0),
        ("refusal=verdict_refuted", 1),
        ("severity=critical", 5),
        ("group=api-asg", 5),
        ("alertname=acting", 2),
        ("to=2026-01-01T00:00", 0),
        ("from=2026-01-01T00:00&q=acting", 2),
        ("unhandled=1&q=acting", 1),
    ],
)
def test_a_run_is_found(visitor: Visitor, query: str, count: int) -> None:
    """By alert, host, address, name, group, reason; the address is the search."""
    page = visitor.get(f"/runs?{query}").text
    storms = [int(number) for number in re.findall(r"<strong>(\d+) \S NoSuch", page)]
    assert len(re.findall(r'name="run-', page)) + sum(storms) == count
    if count == 0:
        assert "No run matches" in page


def test_a_run_is_found_by_its_letters_and_its_people(visitor: Visitor) -> None:
    """By the six letters that lists show, by the start, by its address, and by who answered."""
    run = visitor.service.asking(HOSTS[0])
    assert "No run matches" in visitor.get(f"/runs?q={run['id']}x").text
    address = run["plan"]["consequences"]["address"]
    for text in (run["id"][-6:], run["id"][:14].lower(), address):
        assert run["id"] in visitor.get(f"/runs?q={text}").text
    visitor.get(f"/runs?q={run['id']}")
    fields = {f"run-{run['id']}": run["plan"]["digest"], "action": "deny", "comment": "not now"}
    page = visitor.submit("/runs/many?state=awaiting_approval", **fields)
    assert f"{run['id'][-6:]}: denied reboot_instance on {HOSTS[0]}" in page.text
    assert visitor.service.until(run["id"], "cancelled")["outcome"] == "denied by operator: not now"
    assert run["id"] in visitor.get("/runs?q=operator").text


def test_many_are_ordered_and_each_says_what_became_of_it(visitor: Visitor) -> None:
    """One that cannot be approved stops none of the others."""
    waiting = visitor.service.asking(HOSTS[1])
    other = ended(visitor.service, 1, f"target={HOSTS[4]}")[0]
    visitor.get("/runs")
    chosen = {f"run-{waiting['id']}": waiting["plan"]["digest"], f"run-{other}": ""}
    page = visitor.submit("/runs/many", action="approve", comment="go", **chosen).text
    assert "approved reboot_instance" in page
    assert "a run that is refused cannot be approved" in page
    visitor.service.until(waiting["id"], "succeeded")
    assert visitor.submit("/runs/many", action="approve", comment="go").status_code == 422


def test_a_value_is_computed_once_until_it_is_forgotten() -> None:
    """By all who ask within its time; one that took long is kept longer."""
    answers = iter(range(10))
    recent = Recent[int](lasts_s=60)
    assert [recent.read(lambda: next(answers)) for _ in range(3)] == [0, 0, 0]
    recent.forget()
    assert recent.read(lambda: next(answers)) == 1
