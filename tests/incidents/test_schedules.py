"""Whatever is lost, repeated, late, refused or cut off: what people see in the end is right.

`make fuzz-incidents` plays a thousand schedules.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, delete
from structlog.testing import capture_logs

from bench.incidents.world import World
from receiver.cli.reference.generate import INCIDENT_SCHEMA, incident_schema
from receiver.db.database import Database
from receiver.db.tables import incidents
from receiver.incidents import file, records
from receiver.incidents.cloudevents import sign
from receiver.incidents.metrics import IncidentMetrics
from receiver.incidents.records import Incident
from receiver.incidents.sync import SETTLE_S, Sync
from receiver.incidents.view import IncidentView, Status
from receiver.runs.queries.unremedied import Subject
from tests.conftest import Clock
from tests.incidents.fakes import CutOffError, Network, unkind

_SCHEDULES = int(os.environ.get("INCIDENT_SCHEDULES", "15"))
_STEPS = 12
_ROOT = Path(__file__).parents[2]
FILE = """
slack: {token_file: SECRET, channel: C0DE, url: "https://channels.example/slack"}
pagerduty: {key_file: SECRET, url: "https://channels.example/pagerduty"}
jira: {url: "https://channels.example/jira", user: bot, token_file: SECRET, project: OPS}
cloudevents: {url: "https://channels.example/cloudevents", secret_file: SECRET}
"""


@dataclass
class Story:
    """How each incident stands, as the test goes on."""

    views: dict[str, IncidentView]
    unreadable: str = ""

    def read(self, _: Connection, incident: Incident) -> IncidentView:
        if incident.id == self.unreadable:
            raise KeyError("Bearer s3cret")
        status = Status.OVER if incident.closed_at else self.views[incident.id].status
        return replace(self.views[incident.id], status=status)


@dataclass
class Play:
    """A process that shows incidents, and may be cut off and started again."""

    state: Database
    clock: Clock
    network: Network
    story: Story
    path: Path

    def start(self) -> Sync:
        return Sync(
            database=self.state,
            channels=file.load(self.path, self.network.client(), self.clock),
            read=self.story.read,
            metrics=IncidentMetrics(CollectorRegistry()),
            clock=self.clock,
        )

    def change(self, status: Status, why: str, incident_id: str | None = None) -> str:
        """Open an incident, or change it."""
        with self.state.write() as connection:
            subject = Subject(
                alertname="HighCPU", where=f"g{len(self.story.views)}", account="", region=""
            )
            incident_id = incident_id or records.find_or_open(connection, subject, self.clock())
            over = status is Status.OVER
            records.add_line(connection, incident_id, self.clock(), why)
            records.touch(connection, incident_id, self.clock(), closed=over)
        self.story.views[incident_id] = _view(incident_id, status, why)
        return incident_id


def _view(incident_id: str, status: Status, why: str) -> IncidentView:
    return IncidentView(
        id=incident_id,
        status=status,
        title=f"{status}: HighCPU",
        where="web-asg",
        why=why,
        tried=[],
        next="an answer",
        until=None,
        runs=1,
        run="01KAR0SZ1PCQSD8SGKXR6D7C9P",
        plan="f" * 64 if status is Status.WAITS else None,
        url=None,
        opened_at="2026-11-23T06:39:31Z",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("s3cret")
    written = tmp_path / "incidents.yaml"
    written.write_text(FILE.replace("SECRET", str(tmp_path / "secret")))
    return written


@pytest.fixture
def play(state: Database, clock: Clock, path: Path) -> Play:
    return _play(state, clock, path, lambda: "")


def _play(state: Database, clock: Clock, path: Path, fate: Callable[[], str]) -> Play:
    network = Network(World(), clock, _endless(fate))
    return Play(state, clock, network, Story({}), path)


def _endless(fate: Callable[[], str]) -> Iterator[str]:
    while True:
        yield fate()


def _settle(play: Play, sync: Sync) -> None:
    """Go on until nothing is left to do, on a network that has become kind; then all arrives."""
    for _ in range(60):
        play.network.arrive()
        if sync.run_once():
            play.network.arrive(everything=True)
            return
        play.clock.now += SETTLE_S / 4
    pytest.fail("it does not settle")


def test_a_thousand_schedules(state: Database, clock: Clock, path: Path) -> None:
    """Each with its own misfortunes; a failure names the seed."""
    for seed in range(_SCHEDULES):
        _one_schedule(seed, state, clock, path)
        with state.write() as connection:
            connection.execute(delete(incidents))


def _one_schedule(seed: int, state: Database, clock: Clock, path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311
    random.seed(seed)
    share = chance.choice((0.1, 0.3, 0.6))
    kind = [False]
    misfortune = unkind(chance, share)
    play = _play(state, clock, path, lambda: "" if kind[0] else misfortune())
    sync = play.start()
    ids: list[str] = []
    for number in range(_STEPS):
        if not ids or chance.random() < 0.15:
            ids.append(play.change(chance.choice((Status.WAITS, Status.UNDER_WAY)), f"n{number}"))
        elif chance.random() < 0.5:
            status = chance.choice([*Status])
            play.change(status, f"{seed}/{number}", chance.choice(ids))
        clock.now += chance.choice((0.5, 5, 40))
        try:
            sync.run_once()
        except CutOffError:
            sync = play.start()
    kind[0] = True
    _settle(play, sync)
    _check(seed, play)


def _check(seed: int, play: Play) -> None:
    world, views = play.network.world, play.story.views
    for incident_id, view in views.items():
        shown = [m for m in world.messages.values() if _why(m) == view.why]
        assert shown, (seed, incident_id, "Slack does not show how it stands")
        event = max(
            (e for e in world.events if e["subject"] == incident_id), key=lambda e: str(e["time"])
        )
        assert event["data"]["why"] == view.why, (seed, incident_id)
        page = world.pages.get(f"smartcloudops-{incident_id}")
        if view.needs_person:
            assert page in {"trigger", "acknowledge"}, (seed, incident_id, page)
        if view.over:
            assert page in {None, "resolve"}, (seed, incident_id, page)
            mine = [t for t in world.tickets.values() if incident_id in t["labels"][0]]
            right = [t for t in mine if (t["status"], _first(t)) == ("Done", view.why)]
            assert right or not mine, (seed, incident_id)
    extra = len(world.messages) - len(views)
    threads = sum(map(len, world.threads.values()))
    lines = _lines(play)
    assert threads >= lines, (seed, "a detail is lost")
    assert extra + threads - lines <= play.network.lost, (seed, "more extra messages than losses")


def _lines(play: Play) -> int:
    with play.state.read() as connection:
        return sum(len(records.lines_of(connection, each)) for each in play.story.views)


def _first(ticket: dict[str, Any]) -> str:
    return str(ticket["description"]).split("\n")[0]


def _why(message: dict[str, Any]) -> str:
    return str(message["blocks"][0]["text"]["text"]).split("\n")[1]


def test_one_incident_is_one_message_that_changes(play: Play) -> None:
    """With buttons while an answer is awaited, and its details in the thread."""
    sync, world = play.start(), play.network.world
    incident = play.change(Status.WAITS, "approval needed")
    sync.run_once()
    (message,) = world.messages.values()
    assert message["blocks"][1]["elements"][0]["action_id"] == "approve"
    assert world.pages == {f"smartcloudops-{incident}": "trigger"}
    assert [ticket["status"] for ticket in world.tickets.values()] == ["To Do"]
    for status in (Status.UNDER_WAY, Status.OVER):
        play.clock.now += 5
        play.change(status, str(status), incident)
        assert sync.run_once()
    (message,) = world.messages.values()
    assert (_why(message), len(message["blocks"])) == ("over", 1)
    assert [len(thread) for thread in world.threads.values()] == [3]
    assert world.pages == {f"smartcloudops-{incident}": "resolve"}
    ((ticket,),) = [[*world.tickets.values()]]
    assert (ticket["status"], len(ticket["comments"])) == ("Done", 3)


def test_what_can_no_longer_be_edited_is_posted_anew(play: Play) -> None:
    """As where somebody deleted the message."""
    sync, world = play.start(), play.network.world
    incident = play.change(Status.UNDER_WAY, "begun")
    sync.run_once()
    world.messages.clear()
    play.change(Status.OVER, "done", incident)
    sync.run_once()
    play.clock.now += 5
    assert sync.run_once()
    assert [_why(message) for message in world.messages.values()] == ["done"]


def test_an_incident_that_heals_by_itself_pages_nobody(play: Play) -> None:
    """Neither a page nor a ticket."""
    sync, world = play.start(), play.network.world
    incident = play.change(Status.UNDER_WAY, "begun")
    sync.run_once()
    play.change(Status.OVER, "healed", incident)
    sync.run_once()
    assert (world.pages, world.tickets, len(world.messages)) == ({}, {}, 1)


def test_what_was_sent_before_a_kill_may_arrive_late(
    state: Database, clock: Clock, path: Path
) -> None:
    """After what was sent later: the final state is sent once more."""
    fates: list[str] = []
    play = _play(state, clock, path, lambda: fates.pop() if fates else "")
    incident = play.change(Status.WAITS, "one")
    play.start().run_once()
    play.change(Status.WAITS, "two", incident)
    fates.append("cut late")
    with pytest.raises(CutOffError):
        play.start().run_once()
    sync = play.start()
    play.change(Status.OVER, "three", incident)
    assert not sync.run_once()
    play.network.arrive(everything=True)
    (message,) = play.network.world.messages.values()
    assert _why(message) == "two"
    clock.now += SETTLE_S
    assert sync.run_once()
    (message,) = play.network.world.messages.values()
    assert _why(message) == "three"


def test_a_limit_of_rate_is_kept(state: Database, clock: Clock, path: Path) -> None:
    """For the whole channel, for as long as it asks."""
    asked = []

    def fate() -> str:
        asked.append(clock.now)
        return "limited" if len(asked) <= 4 else ""

    play = _play(state, clock, path, fate)
    sync = play.start()
    play.change(Status.WAITS, "one")
    play.change(Status.WAITS, "two")
    sync.run_once()
    assert len(asked) == 4
    clock.now += 29
    with suppress(CutOffError):
        sync.run_once()
    assert len(asked) == 4
    clock.now += 1
    assert sync.run_once()
    assert len(play.network.world.messages) == 2


def test_an_incident_that_cannot_be_read_delays_no_other(play: Play) -> None:
    """It is tried again ever later, and what is logged of it has no text of the error."""
    sync, world = play.start(), play.network.world
    play.story.unreadable = play.change(Status.WAITS, "one")
    play.change(Status.WAITS, "two")
    with capture_logs() as logged:
        assert not sync.run_once()
        assert not sync.run_once()
    assert [_why(message) for message in world.messages.values()] == ["two"]
    ((event, error),) = [(entry["event"], entry["error"]) for entry in logged]
    assert (event, error) == ("incident_show_failed", "KeyError")
    assert "s3cret" not in str({**logged[0], "stack": ""})
    assert _failed(sync) == {"slack": 1, "pagerduty": 1, "jira": 1, "cloudevents": 1}
    play.clock.now += 2
    assert not sync.run_once()
    play.story.unreadable = ""
    play.clock.now += 3
    assert not sync.run_once()
    play.clock.now += 1
    assert sync.run_once()
    assert [_why(message) for message in world.messages.values()] == ["two", "one"]


def test_a_channel_that_raises_delays_no_other(play: Play) -> None:
    """As with a secret of events that is no base64."""
    secret = play.path.with_name("secret")
    secret.write_text("whsec_s3cret!")
    sync, world = play.start(), play.network.world
    play.change(Status.WAITS, "one")
    play.change(Status.WAITS, "two")
    with capture_logs() as logged:
        assert not sync.run_once()
    assert [_why(message) for message in world.messages.values()] == ["one", "two"]
    assert (len(world.pages), len(world.tickets), len(world.events)) == (2, 2, 0)
    assert "s3cret" not in str(logged)
    assert _failed(sync)["cloudevents"] == 2
    secret.write_text("s3cret")
    assert not sync.run_once()
    assert not world.events
    play.clock.now += 2
    sync.run_once()
    assert [event["data"]["why"] for event in world.events] == ["one", "two"]


def _failed(sync: Sync) -> dict[str, int]:
    samples = next(iter(sync.metrics.posts.collect())).samples
    return {
        sample.labels["channel"]: int(sample.value)
        for sample in samples
        if sample.labels.get("outcome") == "failed" and sample.name.endswith("_total")
    }


def test_events_are_signed_and_have_a_schema(play: Play) -> None:
    """As Standard Webhooks say; the example is that of their specification."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == expected
    play.change(Status.WAITS, "one")
    play.start().run_once()
    (event,), (headers,) = play.network.world.events, play.network.world.signatures
    assert (event["specversion"], event["type"]) == ("1.0", "smartcloudops.incident.changed")
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == event["id"]
    assert headers["webhook-signature"].startswith("v1,")
    schema = json.loads((_ROOT / INCIDENT_SCHEMA).read_text())
    assert schema == json.loads(json.dumps(incident_schema()))
    assert schema["$id"] == event["dataschema"]
    jsonschema.validate(event["data"], schema)
