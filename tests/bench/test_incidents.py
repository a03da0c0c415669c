"""What the verdict of `make kill-incidents` would see."""

import pytest

from bench.incidents.shown import Shown, read_shown
from bench.incidents.world import World
from receiver.db.database import Database
from receiver.incidents import records
from receiver.runs.queries.unremedied import Subject

_TITLE = "A person is needed"


@pytest.fixture
def world(state: Database) -> World:
    """An incident with one detail, as it should be shown."""
    subject = Subject(alertname="Asked1", where="g1", account="", region="")
    with state.write() as connection:
        incident = records.find_or_open(connection, subject, 1.0)
        records.add_line(connection, incident, 1.0, "failed")
    title = f"{_TITLE}: Asked1 on g1"
    return World(
        messages={"1": {"blocks": [{"text": {"text": f"*{title}*\nwhy"}}]}},
        threads={"1": ["00:00:01 UTC  failed"]},
        pages={f"smartcloudops-{incident}": "trigger"},
        tickets={
            "OPS-1": {
                "labels": [f"smartcloudops-{incident}"],
                "status": "To Do",
                "comments": ["failed"],
            }
        },
        events=[{"subject": incident, "time": "1", "data": {"title": title}}],
    )


def _shown(state: Database, world: World) -> Shown:
    return read_shown(state, world, {"Asked1": _TITLE})


def test_what_is_right_has_no_fault(state: Database, world: World) -> None:
    expected = Shown(incidents=1, wrong=[], lost=0, extra=0, unsettled=0)
    assert _shown(state, world) == expected


def test_each_channel_that_shows_another_state_is_named(state: Database, world: World) -> None:
    """And an incident that there is not."""
    world.messages["1"]["blocks"][0]["text"]["text"] = "*Over: Asked1 on g1*"
    world.pages.clear()
    world.tickets["OPS-1"]["status"] = "Done"
    world.events[0]["data"]["title"] = "Over: Asked1 on g1"
    wrong = _shown(state, world).wrong
    assert [fault.split(",")[0] for fault in wrong] == ["slack", "pagerduty", "jira", "cloudevents"]
    shown = read_shown(state, World(), {"Asked1": _TITLE, "Asked2": _TITLE})
    assert "no incident of Asked2" in shown.wrong


def test_what_is_lost_or_too_many_is_counted(state: Database, world: World) -> None:
    """Messages and their threads, tickets and their comments."""
    world.messages["2"] = world.messages["1"]
    world.threads["2"] = ["00:00:01 UTC  failed"]
    world.tickets["OPS-1"]["comments"] = ["failed", "failed"]
    assert _shown(state, world).extra == 3
    world.threads.clear()
    world.tickets["OPS-1"]["comments"] = []
    assert _shown(state, world).lost == 2
