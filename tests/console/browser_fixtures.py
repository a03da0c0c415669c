"""A real browser at the console, and its accessibility checks."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.stack.chromium import ARGUMENTS, find
from receiver.http.access.callers import Role
from tests.api_fixtures import Live

_TIMEOUT_MS = 20_000
Scheme = Literal["light", "dark"]


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """`arguments` are for Chromium itself."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=find(), headless=False, args=[*ARGUMENTS, *arguments]
        )
        yield launched
        launched.close()


@contextmanager
def visit(browser: Browser, url: str, scheme: Scheme = "light", **options: Any) -> Iterator[Page]:
    """A page in a profile of its own. Every error in its console fails the test."""
    context = browser.new_context(base_url=url, color_scheme=scheme, **options)
    expect.set_options(timeout=_TIMEOUT_MS)
    page = context.new_page()
    page.set_default_timeout(_TIMEOUT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    yield page
    context.close()
    assert errors == []


def log_in(page: Page, service: Live, role: Role = Role.OPERATOR) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(service.tokens[role])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Now")).to_be_visible()


def violations(page: Page) -> Sequence[str]:
    """The serious and critical findings of axe, a line each."""
    findings = Axe().run(page).response["violations"]
    return [
        f"{finding['id']}: {json.dumps(finding['nodes'][0]['target'])}"
        for finding in findings
        if finding["impact"] in {"serious", "critical"}
    ]
