"""`make screenshots`: pictures of the console for docs/img, with real faults in a real chain."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
from playwright.sync_api import Browser, FloatRect, Page, ViewportSize, expect

from demo.stack import tools
from demo.stack.environment import Environment, EnvironmentOptions, start_environment
from demo.stack.monitoring_config import Timings
from demo.stack.processes import Processes
from tests.console.browser_fixtures import chromium

_IMAGES = Path(__file__).parents[2] / "docs/img"
_BYTES_MOST = 200_000
_MEMBERS = 12
_TIMEOUT_S = 600.0
_DESKTOP: ViewportSize = {"width": 1200, "height": 800}
_TALL: ViewportSize = {"width": 1200, "height": 1100}
_BEGINNING_PX, _MARGIN_PX = 880, 12
_PHONE: ViewportSize = {"width": 390, "height": 844}
# The first runs are approved and recover, the last one still awaits approval.
_HEALED = (("memory_leak", "web-asg"), ("cpu_runaway", "api-asg"))
_WAITING = ("service_hang", "web-asg")


def _until(read: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        if value := read():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {_TIMEOUT_S:g} s")
        time.sleep(0.5)


class Incidents:
    """Faults in the fleet, and the approvals of their runs."""

    def __init__(self, stage: Environment, http: httpx.Client) -> None:
        self._stage, self._http, self._broken = stage, http, set[str]()

    def play(self) -> tuple[str, str]:
        """The ids of a run that recovered and of one that awaits approval."""
        _until(self._watched)
        self._break("batch_job", "web-asg")
        healed = [self._heal(*fault) for fault in _HEALED]
        self._break(*_WAITING)
        return healed[0], str(_until(self._waiting)["id"])

    def _watched(self) -> bool:
        query = {"query": f'count(up{{job="node"}} == 1) >= {_MEMBERS}'}
        answer = self._http.get(f"{self._stage.prometheus}/api/v1/query", params=query)
        return bool(answer.json()["data"]["result"])

    def _heal(self, fault: str, group: str) -> str:
        self._break(fault, group)
        waiting = _until(self._waiting)
        run = str(waiting["id"])
        self._answer(waiting, "approve", f"{fault} confirmed by its metrics")
        _until(lambda: self.call("GET", f"/api/v1/runs/{run}")["ended_at"])
        while other := self._waiting():
            self._answer(other, "deny", f"run {run} has fixed it")
        return run

    def _answer(self, run: Any, verb: str, comment: str) -> None:
        body = {"comment": comment, "plan": run["plan"]["digest"]}
        self.call("POST", f"/api/v1/runs/{run['id']}/{verb}", body)

    def _break(self, fault: str, group: str) -> None:
        members = self._http.get(f"{self._stage.aws}/_sim/fleet").json()["items"]
        healthy = (
            str(member["instance_id"])
            for member in members
            if member["asg"] == group and member["health"] == "healthy" and not member["faults"]
        )
        target = next(instance for instance in healthy if instance not in self._broken)
        self._broken.add(target)
        body = {"target": group if fault == "traffic_surge" else target, "fault": fault}
        self._http.post(f"{self._stage.aws}/_sim/fleet/faults", json=body).raise_for_status()
        click.echo(f"{fault} in {group}", err=True)

    def _waiting(self) -> Any:
        items = self.call("GET", "/api/v1/runs?state=awaiting_approval")["items"]
        return items[0] if items else None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        bearer = {"Authorization": f"Bearer {self._stage.tokens['operator']}"}
        answer = self._http.request(
            method, f"{self._stage.receiver}{path}", json=body, headers=bearer
        )
        answer.raise_for_status()
        return answer.json()


def shoot(url: str, token: str, healed: str, waiting: str, folder: Path) -> None:
    """The pictures of the documents."""
    with chromium("--hide-scrollbars") as browser:
        with _logged_in(browser, url, token, viewport=_DESKTOP) as page:
            _shoot(page, "/", folder / "home.png")
            page.set_viewport_size(_TALL)
            _shoot(page, f"/runs/{healed}", folder / "run.png")
            _shoot_beginning(page, "#timeline", folder / "story.png")
            page.set_viewport_size(_DESKTOP)
            _pause(page, "deploying 2.4 until 04:00")
            _shoot(page, "/", folder / "paused.png")
            page.get_by_role("button", name="Resume").click()
        with _logged_in(browser, url, token, viewport=_PHONE, color_scheme="dark") as page:
            _shoot(page, f"/runs/{waiting}", folder / "phone-dark.png")


@contextmanager
def _logged_in(browser: Browser, url: str, token: str, **options: Any) -> Iterator[Page]:
    context = browser.new_context(base_url=url, **options)
    page = context.new_page()
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    yield page
    context.close()


def _pause(page: Page, comment: str) -> None:
    page.get_by_text("Pause all actions").click()
    page.get_by_label("Why pause").fill(comment)
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_role("heading", name="Paused: no new actions")).to_be_visible()


def _shoot(page: Page, path: str, file: Path) -> None:
    page.goto(path)
    plots = page.locator("#plots[hx-trigger=load]")
    # The plots are complete once Prometheus has answered.
    expect(plots).to_have_count(0)
    page.screenshot(path=file)
    click.echo(f"{file.name} {file.stat().st_size // 1000} kB", err=True)


def _shoot_beginning(page: Page, selector: str, file: Path) -> None:
    """As much of a long part as a reader looks at."""
    box = page.locator(selector).bounding_box()
    assert box is not None, f"{selector} is not on the page"
    clip: FloatRect = {
        "x": box["x"] - _MARGIN_PX,
        "y": box["y"] - _MARGIN_PX,
        "width": box["width"] + 2 * _MARGIN_PX,
        "height": min(box["height"], _BEGINNING_PX) + _MARGIN_PX,
    }
    page.screenshot(path=file, clip=clip, full_page=True)
    click.echo(f"{file.name} {file.stat().st_size // 1000} kB", err=True)


def main() -> int:
    _IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Processes(Path(folder) / "logs") as processes,
        httpx.Client(trust_env=False, timeout=30) as http,
    ):
        stage = start_environment(
            processes,
            tools.require(),
            EnvironmentOptions(
                folder=Path(folder) / "state",
                seed=7,
                timings=Timings(hold="5s", group_interval="2s"),
                settings={"SMARTCLOUDOPS_MODE": "approve"},
            ),
            say=lambda component, text: click.echo(f"{component}: {text}", err=True),
        )
        healed, waiting = Incidents(stage, http).play()
        shoot(stage.receiver, stage.tokens["operator"], healed, waiting, _IMAGES)
    return int(any(image.stat().st_size > _BYTES_MOST for image in _IMAGES.glob("*.png")))


if __name__ == "__main__":
    sys.exit(main())
