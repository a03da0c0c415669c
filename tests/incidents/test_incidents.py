"""Which runs are one incident, what is told of it, and when it is over; with the whole service."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from bench.incidents.world import World
from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.conftest import Clock
from tests.incidents.fakes import Network
from tests.incidents.test_schedules import FILE


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, world: World) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("incidents")
    (folder / "secret").write_text("s3cret")
    (folder / "incidents.yaml").write_text(FILE.replace("SECRET", str(folder / "secret")))
    network = Network(world, Clock(), iter(lambda: "", None))
    with live(
        folder,
        shown=network.client(),
        incidents=folder / "incidents.yaml",
        public_url="https://ops.example/",
    ) as service:
        yield service


def _until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def _texts(world: World) -> Sequence[str]:
    return [str(message["blocks"][0]["text"]["text"]) for message in world.messages.values()]


def test_a_run_is_one_message_from_the_question_to_the_end(service: Live, world: World) -> None:
    """What, where, why, what was tried, what is next, until when; then it is over."""
    run = service.asking(HOSTS[0])
    (text,) = _until(lambda: [text for text in _texts(world) if "Approval needed" in text])
    assert f"asking on {GROUP}" in text
    assert "the re-check says confirmed" in text
    assert "Tried: nothing yet" in text
    assert f"Next: Reboot {HOSTS[0]}" in text
    assert "(until " in text
    assert f"https://ops.example/runs/{run['id']}" in text
    assert _until(lambda: [*world.pages.values()] == ["trigger"])
    assert service.approve(run).status_code == 200
    service.until(run["id"], "succeeded")
    (text,) = _until(lambda: [text for text in _texts(world) if "*Over" in text])
    assert f"reboot_instance on {HOSTS[0]}" in text
    assert len(world.messages) == 1
    (thread,) = world.threads.values()
    said = "\n".join(thread)
    assert f"approval needed: reboot_instance on {HOSTS[0]}" in said
    assert "operator approved: go" in said
    assert _until(lambda: [*world.pages.values()] == ["resolve"])
    assert _until(lambda: [ticket["status"] for ticket in world.tickets.values()] == ["Done"])
    assert world.events[0]["data"]["status"] == "waits_for_an_answer"
    assert _until(lambda: world.events[-1]["data"]["status"] == "over")
    service.forget()


def test_the_first_of_two_approvals_is_shown(service: Live, world: World) -> None:
    """And who gave it, so that another person presses the button."""
    run = service.until(service.start("paired", HOSTS[2])["id"], "awaiting_approval")
    _until(lambda: [text for text in _texts(world) if f"Reboot {HOSTS[2]}" in text])
    assert service.approve(run, Role.ADMIN).status_code == 202
    assert _until(lambda: [text for text in _texts(world) if "Approved so far by admin." in text])
    body = {"comment": "no", "plan": run["plan"]["digest"]}
    service.call("POST", f"/api/v1/runs/{run['id']}/deny", Role.OPERATOR, json=body)
    assert _until(lambda: all("Over" in text for text in _texts(world)))
    world.messages.clear()
    service.forget()


def test_runs_of_one_alert_and_group_are_one_incident(service: Live, world: World) -> None:
    """The second on another host within half an hour: the same message, opened again."""
    run = service.asking(HOSTS[1])
    text = _until(lambda: [text for text in _texts(world) if "Approval needed" in text])[0]
    assert len(world.messages) == 1
    assert "2 runs, the newest:" in text
    body = {"comment": "no", "plan": run["plan"]["digest"]}
    service.call("POST", f"/api/v1/runs/{run['id']}/deny", Role.OPERATOR, json=body)
    assert _until(lambda: [text for text in _texts(world) if "*Over" in text])
    assert len(world.messages) == 1
