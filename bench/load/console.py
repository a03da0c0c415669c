"""`make bench-console`: the console in Chromium, before and after a flood of alerts.

A page's first paint is the browser's own figure, and is compared with that of a text of a line
from the same service. The flood is of one alert name in one group, and of no playbook.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx
from playwright.sync_api import Page, sync_playwright

from bench.load.service import Served, serve
from demo.stack.chromium import ARGUMENTS, require
from demo.stack.processes import Processes
from receiver.http.access.callers import Role

_BARE, _TIMES, _DELIVERED, _PATIENCE_S = "/healthz", 5, 500, 1800.0
_PAINTED_WITHIN_MS = 1000
_PAGES = ("/", "/runs", "/controls", "/playbooks", "/model", "/audit")
_PAINTS = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)"
_NOBODY_ON_IT = "section[aria-labelledby=unhandled] li"
_NAME, _GROUP = "HostFlood", "flooded-asg"


def measure_console(folder: Path, alerts: int) -> Mapping[str, Any]:
    """Milliseconds of first paints and of searches, and the rows of the page Now."""
    with Processes(folder / "logs") as processes:
        service = serve(processes, folder, "console", PLAYBOOKS="playbooks")
        with _browsing(service) as page:
            before = {path: _painted_ms(page, path) for path in (_BARE, *_PAGES)}
            _deliver(service, alerts)
            decided_s = _wait_decided(service, alerts)
            page.goto("/")
            rows = page.locator(f"{_NOBODY_ON_IT}:has-text('{_NAME}')").count()
            now_bytes = len(page.context.request.get("/").body())
            searches = {name: _searched_ms(page, text) for name, text in _searches(alerts)}
            after = {path: _painted_ms(page, path) for path in (_BARE, *_PAGES)}
    return {
        "first_paint_ms": before,
        "first_paint_ms_flooded": after,
        "rows_of_the_flood": rows,
        "bytes_of_now": now_bytes,
        "search_p50_p95_ms": searches,
        "decided_s": round(decided_s),
    }


@contextmanager
def _browsing(service: Served) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=require(), headless=False, args=[*ARGUMENTS]
        )
        page = browser.new_context(base_url=service.url).new_page()
        page.set_default_timeout(120_000)
        page.goto("/")
        page.get_by_label("Token").fill(service.tokens[Role.OPERATOR])
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Now").wait_for()
        yield page
        browser.close()


def _painted_ms(page: Page, path: str) -> float:
    """The median."""
    paints = list[float]()
    for _ in range(_TIMES):
        page.goto(path)
        # The pages' policy forbids a function that waits in the browser.
        while not (found := page.evaluate(_PAINTS)):
            page.wait_for_timeout(50)
        paints.append(found[0])
        # What a page loads later, such as the verification of the audit, is over.
        page.wait_for_load_state("networkidle")
    return round(statistics.median(paints))


def _searches(alerts: int) -> Iterator[tuple[str, str]]:
    host = _host(alerts // 2)
    yield from (("instance", host), ("beginning of an instance", host[:16]))
    yield from (("alert", _NAME), ("group", _GROUP), ("nothing", "nowhere"))


def _searched_ms(page: Page, text: str) -> tuple[int, int]:
    """The median and the 95th percentile of the page of runs, without a browser's drawing."""
    taken = list[float]()
    for _ in range(4 * _TIMES):
        started = time.perf_counter()
        answer = page.context.request.get("/runs", params={"q": text})
        taken.append(time.perf_counter() - started)
        if not answer.ok:
            raise RuntimeError(f"the search answered {answer.status}")
    return round(statistics.median(taken) * 1000), round(sorted(taken)[-2] * 1000)


def _deliver(service: Served, alerts: int) -> None:
    headers = {"Authorization": f"Bearer {service.tokens[Role.WEBHOOK]}"}
    url, begun = f"{service.url}/webhook/alertmanager", datetime.now(UTC).isoformat()
    with httpx.Client(headers=headers, trust_env=False, timeout=120) as http:
        for first in range(0, alerts, _DELIVERED):
            numbers = range(first, min(alerts, first + _DELIVERED))
            sent = [_alert(number, begun) for number in numbers]
            http.post(url, json={"version": "4", "alerts": sent}).raise_for_status()


def _alert(number: int, begun: str) -> Mapping[str, object]:
    labels = {"alertname": _NAME, "instance_id": _host(number), "asg": _GROUP}
    return {"status": "firing", "labels": labels, "startsAt": begun}


def _host(number: int) -> str:
    return f"i-{number:017x}"


def _wait_decided(service: Served, alerts: int) -> float:
    """Wait until all are decided. Returns the seconds. Raises TimeoutError."""
    started = time.monotonic()
    while service.metric("smartcloudops_runs_total") < alerts:
        if time.monotonic() > started + _PATIENCE_S:
            raise TimeoutError(f"the alerts were not decided within {_PATIENCE_S:g} s")
        time.sleep(1)
    return time.monotonic() - started


def main(arguments: Sequence[str]) -> int:
    """Returns 0 where each page is painted within a second, and the flood is one row."""
    (alerts,) = map(int, arguments)
    with tempfile.TemporaryDirectory(prefix="console-") as scratch:
        figures = measure_console(Path(scratch), alerts)
    click.echo(json.dumps(figures, indent=2))
    painted = {**figures["first_paint_ms"], **figures["first_paint_ms_flooded"]}
    return int(max(painted.values()) >= _PAINTED_WITHIN_MS or figures["rows_of_the_flood"] != 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
