"""The console in a real browser: its flows and its accessibility."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from receiver.http.access.callers import Role
from tests.api_fixtures import HOSTS, Live, live
from tests.console.browser_fixtures import Scheme, chromium, log_in, violations, visit
from tests.console.console_fixtures import store_plot_data


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("browser")) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, service: Live) -> Iterator[Page]:
    service.forget()
    with visit(browser, service.url) as page:
        yield page


_SCHEMES: tuple[Scheme, ...] = ("light", "dark")
_WHY = "Why (recorded in the audit with your name)"


def _submit(page: Page, comment: str, button: str, label: str = _WHY) -> None:
    page.get_by_label(label).fill(comment)
    page.get_by_role("button", name=button, exact=True).click()


def test_approve_pause_and_roll_back(page: Page, service: Live) -> None:
    """A run appears without a reload and is approved; actions are paused; a run is rolled back."""
    log_in(page, service)
    expect(page.get_by_text("Nothing waits for an approval.")).to_be_visible()
    run = service.asking(HOSTS[0])
    waiting = page.get_by_role("region", name="Waiting for you")
    waiting.get_by_role("link", name=HOSTS[0]).click()
    before = len(service.aws.calls)
    _submit(page, "it hangs", "Approve")
    expect(page.get_by_role("status").get_by_text("recovered")).to_be_visible()
    assert [call.target for call in service.aws.calls[before:]] == [HOSTS[0]]
    expect(page.get_by_role("heading", name="Approved by operator")).to_be_visible()
    assert service.until(run["id"], "succeeded")["approval"]["comment"] == "it hangs"

    page.get_by_text("Pause all actions").click()
    _submit(page, "deploying", "Pause", "Why pause")
    expect(page.get_by_role("heading", name="Paused: no new actions")).to_be_visible()
    assert service.start("acting", HOSTS[1], dry_run=True)["refusal"] == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="Paused: no new actions")).to_be_hidden()

    scaled = service.until(service.start("growing", "web-asg")["id"], "succeeded")
    page.goto(f"/runs/{scaled['id']}")
    _submit(page, "it was a test", "Roll back")
    expect(page.get_by_role("heading", name="Rollback: scale in on web-asg")).to_be_visible()
    service.until(scaled["id"], "rolled_back")
    assert service.aws.world.groups["web-asg"].desired == len(HOSTS)


def test_a_pause_is_shown_without_a_reload(page: Page, service: Live) -> None:
    """On every page, also where another person paused."""
    log_in(page, service, Role.VIEWER)
    page.goto("/playbooks")
    service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "elsewhere"})
    expect(page.get_by_role("heading", name="Paused: no new actions")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    service.call("POST", "/api/v1/resume", Role.OPERATOR, json={"comment": "done"})
    expect(page.get_by_role("heading", name="Paused: no new actions")).to_be_hidden()


def test_polling_keeps_a_comment_that_is_being_typed(page: Page, service: Live) -> None:
    """The form is only replaced where the offered actions have changed."""
    run = service.asking(HOSTS[2])
    log_in(page, service)
    page.goto(f"/runs/{run['id']}")
    page.get_by_label(_WHY).fill("half a sent")
    with page.expect_response(lambda answer: "?run=" in answer.url) as polled:
        pass
    assert polled.value.status == 204
    expect(page.get_by_label(_WHY)).to_have_value("half a sent")


def test_a_link_from_a_chat_leads_to_the_run(page: Page, service: Live) -> None:
    """The cookie is SameSite=Strict, but a logged-in person need not log in again."""
    run = service.asking(HOSTS[3])
    log_in(page, service)
    chat = "http://chat.example/"
    link = f'<a href="{service.url}/runs/{run["id"]}">look</a>'
    page.route(chat, lambda route: route.fulfill(body=link, content_type="text/html"))
    page.goto(chat)
    page.get_by_role("link", name="look").click()
    expect(page.get_by_role("heading", name="Approve or deny")).to_be_visible()


def test_the_keyboard_is_enough(page: Page, service: Live) -> None:
    """The first tab stop skips the navigation, and each stop has an outline."""
    log_in(page, service)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.get_by_role("link", name="Runs", exact=True).focus()
    page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_the_console_works_without_javascript(browser: Browser, service: Live) -> None:
    """Logging in, reading, approving."""
    service.forget()
    run = service.asking(HOSTS[4])
    with visit(browser, service.url, java_script_enabled=False) as page:
        log_in(page, service)
        page.get_by_role("link", name=HOSTS[4]).click()
        _submit(page, "go", "Approve")
        service.until(run["id"], "succeeded")
        page.reload()
        expect(page.get_by_role("status").get_by_text("recovered")).to_be_visible()


@pytest.fixture
def paths(service: Live) -> Iterator[list[str]]:
    """Every page, each with content."""
    service.forget()
    ended = service.until(service.start("growing", "web-asg")["id"], "succeeded")
    store_plot_data(service, ended["id"])
    refused = service.start("acting", HOSTS[0], dry_run=True)
    waiting = service.asking(HOSTS[5])
    hold = service.hold("web-asg")
    armed = {"mode": "auto", "service": "api-asg", "canary_percent": 25, "comment": "it was right"}
    service.call("POST", "/api/v1/playbooks/acting/arm", Role.ADMIN, json=armed)
    service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "deploying"})
    runs = [f"/runs/{run['id']}" for run in (ended, refused, waiting)]
    yield [
        *("/", "/runs", *runs, "/controls", "/playbooks", "/playbooks/acting", "/groups/web-asg"),
        *("/model", "/audit?verify=1", "/sessions"),
    ]
    service.call("POST", "/api/v1/resume", Role.OPERATOR, json={"comment": "done"})
    service.call("DELETE", f"/api/v1/overrides/{hold['id']}", Role.OPERATOR)


def test_pages_are_accessible(page: Page, service: Live, paths: list[str]) -> None:
    """Axe has no serious finding, light or dark, and no page is wider than a phone."""
    page.goto("/login")
    findings = {("/login", "light"): list(violations(page))}
    log_in(page, service, Role.ADMIN)
    for path in paths:
        page.goto(path)
        page.evaluate(
            "document.querySelectorAll('details').forEach((details) => { details.open = true })"
        )
        for scheme in _SCHEMES:
            page.emulate_media(color_scheme=scheme)
            findings[path, scheme] = list(violations(page))
        page.set_viewport_size({"width": 360, "height": 740})
        findings[path, "phone"] = list(violations(page))
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            findings[path, "phone"].append(f"{wide} pixels too wide")
        page.set_viewport_size({"width": 1280, "height": 800})
    assert {where: lines for where, lines in findings.items() if lines} == {}
