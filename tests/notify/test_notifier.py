"""People are told of what happens, once, in words that hold no secret and nothing hostile."""

import io
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from actions.audit import log
from actions.execution import kill_switch
from actions.messaging import MessengerError
from receiver.audit.tail import Follower, Record
from receiver.db.database import Database
from receiver.http.tokens import Role
from receiver.metrics import Metrics
from receiver.notify.channels import Services
from receiver.notify.messages import EVENTS, Kind, notice
from receiver.notify.notifier import Notifications
from receiver.runtime.redaction import plain
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.conftest import Clock

_SECRET = "hush-hush"


@dataclass
class Channel:
    """A chat's webhook; it answers after `delay_s`."""

    url: str = ""
    delay_s: float = 0.0
    told: list[dict[str, str]] = field(default_factory=list)

    def until(self, *words: str) -> dict[str, str]:
        """The first message with all these words."""
        deadline = time.monotonic() + 20
        while True:
            for one in list(self.told):
                if all(word in one["title"] + one["message"] for word in words):
                    return one
            assert time.monotonic() < deadline, self.told
            time.sleep(0.05)


@contextmanager
def channel() -> Iterator[Channel]:
    made = Channel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(made.delay_s)
            made.told.append(body)
            self.send_response(httpx.codes.OK)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"json://user:{_SECRET}@127.0.0.1:{server.server_port}/{_SECRET}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def events() -> Iterator[Channel]:
    with channel() as made:
        yield made


@pytest.fixture(scope="module")
def approvals() -> Iterator[Channel]:
    with channel() as made:
        yield made


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, events: Channel, approvals: Channel
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("notifications")
    file = folder / "notify.conf"
    file.write_text(f"events={events.url}\napproval_needed={approvals.url}\n")
    services = Services("http://alertmanager", file, httpx.Client())
    with live(folder, services=services, public_url="https://ops.example/") as made:
        yield made


def test_people_are_told_with_a_link(service: Live, events: Channel, approvals: Channel) -> None:
    """Of approvals and acts; who asked for approvals alone hears of nothing else."""
    run = service.asking(HOSTS[0])
    asked = approvals.until("Approval needed", HOSTS[0])
    assert f"https://ops.example/runs/{run['id']}" in asked["message"]
    body = {"comment": "go"}
    service.call("POST", f"/api/v1/runs/{run['id']}/approve", Role.OPERATOR, json=body)
    acted = events.until("Acted", HOSTS[0])
    assert "reboot_instance: changed" in acted["message"]
    service.until(run["id"], "succeeded")
    service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "<!channel> *deploy*"})
    paused = events.until("paused by operator")
    assert paused["message"] == "!channel deploy"
    service.call("POST", "/api/v1/resume", Role.OPERATOR, json=body)
    events.until("resumed by operator")
    assert {one["title"].split(":")[0] for one in approvals.told} == {"Approval needed"}
    service.forget()


def test_a_failure_and_a_rollback_are_told(service: Live, events: Channel) -> None:
    """A run that could not do it, and one that a person took back."""
    grown = service.until(service.start("growing", GROUP)["id"], "verifying")
    path = f"/api/v1/runs/{grown['id']}/rollback"
    service.call("POST", path, Role.OPERATOR, json={"comment": "too many"})
    events.until("Rolled back", GROUP, grown["id"])
    service.forget()


def test_a_channel_that_hangs_holds_up_no_run(service: Live, events: Channel) -> None:
    """The run has ended before the channel has answered."""
    events.delay_s = 3.0
    try:
        run = service.start("acting", HOSTS[1])
        begun = time.monotonic()
        service.until(run["id"], "succeeded")
        assert time.monotonic() - begun < events.delay_s
    finally:
        events.delay_s = 0.0
    service.forget()


@dataclass
class People:
    """Takes what is announced; fails with each of `errors` first."""

    told: list[tuple[Sequence[str], str, str]] = field(default_factory=list)
    errors: list[MessengerError] = field(default_factory=list)

    def announce(self, tags: Sequence[str], title: str, text: str) -> None:
        if self.errors:
            raise self.errors.pop()
        self.told.append((tags, title, text))


@dataclass
class Following:
    """The follower alone, one step at a time."""

    state: Database
    clock: Clock
    people: People = field(default_factory=People)
    per_minute: int = 20

    def __post_init__(self) -> None:
        self.metrics = Metrics(["high-cpu"])
        self.told = Notifications(
            database=self.state,
            announce=self.people.announce,
            metrics=self.metrics,
            public_url=None,
            per_minute=self.per_minute,
            clock=self.clock,
            pause=lambda _: None,
        )
        self.follower = self.again()
        self.follower.catch_up()

    def again(self) -> Follower:
        """As after a restart."""
        return Follower(self.state, "test", EVENTS, self.told.take, self.told.rest)

    def happens(self, event: str, run_id: str | None = None, **detail: object) -> None:
        with self.state.write() as connection:
            said = log.Event(actor="test", event=event, run_id=run_id, detail=detail)
            log.append(connection, self.clock(), said)

    def counted(self, kind: Kind, outcome: str) -> float:
        return float(self.metrics.notifications.labels(kind, outcome)._value.get())  # noqa: SLF001 its public reader is the text of all


@pytest.fixture
def following(state: Database, clock: Clock) -> Following:
    with state.write() as connection:
        kill_switch.turn(connection, paused=True, by="past", comment="long ago", now=clock())
    return Following(state, clock)


def _fail(following: Following, number: int, target: str = HOSTS[0]) -> None:
    following.happens("run_failed", f"{number:026d}", target=target, outcome="it did not help")


def test_what_is_past_is_no_news(following: Following) -> None:
    """A follower that is new begins at the end, and one that was down for long leaves the old."""
    assert following.people.told == []
    _fail(following, 1)
    following.clock.now += 4000
    following.again().catch_up()
    assert following.people.told == []


def test_the_same_is_told_once_and_summed_up(following: Following) -> None:
    """Within five minutes; another target is something else."""
    for number in range(5):
        _fail(following, number)
    _fail(following, 9, HOSTS[1])
    following.follower.catch_up()
    assert [title for _, title, _ in following.people.told] == [
        f"Failed: {HOSTS[0]}",
        f"Failed: {HOSTS[1]}",
    ]
    following.clock.now += 301
    following.follower.catch_up()
    tags, title, text = following.people.told[-1]
    assert (tags, title) == (["failed", "events"], "SmartCloudOps: more of the same")
    assert "4 failed" in text
    assert following.counted(Kind.FAILED, "left_out") == 4
    _fail(following, 10)
    following.follower.catch_up()
    assert len(following.people.told) == 4


def test_no_more_than_people_can_read(state: Database, clock: Clock) -> None:
    """A storm of approvals, each of which is another: the rest is summed up."""
    following = Following(state, clock, per_minute=3)
    for number in range(50):
        following.happens("run_awaiting_approval", f"{number:026d}", plan={"action": "x"})
    following.follower.catch_up()
    assert len(following.people.told) == 3
    following.clock.now += 301
    following.follower.catch_up()
    assert "47 approval_needed" in following.people.told[-1][2]


def test_each_event_is_handed_on_once(following: Following) -> None:
    """By two processes, and over a restart."""
    other = following.again()
    _fail(following, 1)
    following.follower.catch_up()
    other.catch_up()
    following.again().catch_up()
    assert len(following.people.told) == 1


@pytest.mark.parametrize(("sent", "times"), [(False, 3), (True, 1)])
def test_a_channel_that_fails_is_tried_again_unless_some_have_it(
    following: Following, times: int, *, sent: bool
) -> None:
    """And what comes after it is told all the same."""
    following.people.errors = [MessengerError("it is down", sent=sent) for _ in range(times)]
    _fail(following, 1)
    _fail(following, 2, HOSTS[1])
    following.follower.catch_up()
    assert [title for _, title, _ in following.people.told] == [f"Failed: {HOSTS[1]}"]
    assert following.counted(Kind.FAILED, "failed") == 1


def test_a_step_is_an_act_an_escalation_or_nothing(clock: Clock) -> None:
    """What changed nothing, and what takes an act back, is no news."""

    def kind(**detail: object) -> Kind | None:
        record = Record(
            seq=1, at=clock(), actor="x", event="step_observed", run_id="1", detail=detail
        )
        found = notice(record, None, None)
        return found.kind if found else None

    assert kind(action="reboot_instance", outcome="changed", target="t") is Kind.ACTED
    assert kind(action="reboot_instance", outcome="unknown", target="t") is Kind.ACTED
    assert kind(action="reboot_instance", outcome="failed", target="t") is None
    assert kind(action="reboot_instance", outcome="changed", target="t", undoes=0) is None
    assert kind(action="notify", outcome="changed", target="t") is Kind.ESCALATED


def test_who_arms_and_disarms_is_told(clock: Clock) -> None:
    """What, for which service, by whom; each time anew."""

    def told(event: str, **detail: object) -> str:
        said = {"playbook": "high-cpu", "comment": "so", **detail}
        record = Record(seq=1, at=clock(), actor="ann", event=event, run_id=None, detail=said)
        found = notice(record, None, None)
        assert found is not None
        assert (found.kind, found.text) == (Kind.ARMING, "so")
        return found.title

    armed = told("playbook_armed", mode="auto", service="web-asg")
    assert armed == "Playbook high-cpu is armed to auto for web-asg by ann"
    disarmed = told("playbook_disarmed", mode="observe", service=None)
    assert disarmed == "Playbook high-cpu is disarmed by ann"


def test_hostile_text_is_plain() -> None:
    """No mention, no markup, no second line, no end."""
    said = plain("<!everyone> <https://evil|click>\n@here `rm` \u202e" + "x" * 9000)
    assert len(said) <= 500
    assert not set(said) & set("<>@`\n\u202e")


def test_no_address_of_the_file_gets_into_the_log(tmp_path: Path) -> None:
    """At its loudest, where nobody answers."""
    file = tmp_path / "notify.conf"
    file.write_text(f"events=json://user:{_SECRET}@127.0.0.1:1/{_SECRET}/\n")
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        services = Services("http://alertmanager", file, httpx.Client())
        services.announce(["nobody"], "title", "text")
        with pytest.raises(MessengerError) as failed:
            services.announce(["failed", "events"], "title", "text")
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    assert not failed.value.sent
    assert _SECRET not in text.getvalue() + str(failed.value)
