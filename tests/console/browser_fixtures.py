"""A real browser at the console, and what it is held to."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.stack import chromium as browser
from demo.stack.chromium import ARGUMENTS
from receiver.http.tokens import Role
from tests.api_fixtures import Live

_WAITS_MS = 20_000
Scheme = Literal["light", "dark"]


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """`more` are arguments of the program."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=browser.find(), headless=False, args=[*ARGUMENTS, *more]
        )
        yield launched
        launched.close()


@contextmanager
def visit(opened: Browser, url: str, scheme: Scheme = "light", **more: Any) -> Iterator[Page]:
    """A page in a profile of its own. What the page complains of is an error."""
    context = opened.new_context(base_url=url, color_scheme=scheme, **more)
    expect.set_options(timeout=_WAITS_MS)
    page = context.new_page()
    page.set_default_timeout(_WAITS_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert complaints == []


def log_in(page: Page, service: Live, role: Role = Role.OPERATOR) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(service.tokens[role])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Now")).to_be_visible()


def violations(page: Page) -> Sequence[str]:
    """What axe finds that keeps people out: one line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {json.dumps(one['nodes'][0]['target'])}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
