"""Notifications: sent at least once, at a limited rate, without secrets or hostile text."""

import io
import json
import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from actions.audit import log
from actions.execution import kill_switch
from receiver.audit.tail import AuditTail, Record
from receiver.db.database import Database
from receiver.http.access.callers import Role
from receiver.monitoring.alertmanager import Alertmanager
from receiver.notify.channels import Channels
from receiver.notify.messages import EVENTS, MessageKind, make_message
from receiver.notify.metrics import NotifyMetrics
from receiver.notify.notifier import Notifier
from receiver.notify.recipients import Delivery
from receiver.runtime.redaction import plain
from receiver.runtime.rfc3339 import rfc3339
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.conftest import Clock

_SECRET = "hush-hush"


@dataclass
class Channel:
    """A chat's webhook; it answers after `delay_s`."""

    url: str = ""
    delay_s: float = 0.0
    received: list[dict[str, str]] = field(default_factory=list)

    def until(self, *words: str) -> dict[str, str]:
        """The first message with all these words."""
        deadline = time.monotonic() + 20
        while True:
            for message in list(self.received):
                if all(word in message["title"] + message["message"] for word in words):
                    return message
            assert time.monotonic() < deadline, self.received
            time.sleep(0.05)


@contextmanager
def running_channel() -> Iterator[Channel]:
    channel = Channel()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(channel.delay_s)
            channel.received.append(body)
            self.send_response(httpx.codes.OK)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        channel.url = f"json://user:{_SECRET}@127.0.0.1:{server.server_port}/{_SECRET}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield channel
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def events() -> Iterator[Channel]:
    with running_channel() as channel:
        yield channel


@pytest.fixture(scope="module")
def approvals() -> Iterator[Channel]:
    with running_channel() as channel:
        yield channel


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, events: Channel, approvals: Channel
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("notifications")
    file = folder / "notify.conf"
    file.write_text(f"events={events.url}\napproval_needed={approvals.url}\n")
    channels = Channels(Alertmanager("http://alertmanager", httpx.Client()), file)
    with live(folder, services=channels, public_url="https://ops.example/") as service:
        yield service


def test_notifications_have_a_link(service: Live, events: Channel, approvals: Channel) -> None:
    """Of approvals and actions; the tag `approval_needed` selects approvals alone."""
    run = service.asking(HOSTS[0])
    message = approvals.until("Approval needed", HOSTS[0])
    assert f"https://ops.example/runs/{run['id']}" in message["message"]
    assert message["message"].startswith(f"{run['question']}\nAnswer until ")
    service.approve(run)
    acted = events.until("Acted", HOSTS[0])
    assert "reboot_instance: changed" in acted["message"]
    service.until(run["id"], "succeeded")
    service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "<!channel> *deploy*"})
    paused = events.until("paused by operator")
    assert paused["message"] == "!channel deploy"
    service.call("POST", "/api/v1/resume", Role.OPERATOR, json={"comment": "go"})
    events.until("resumed by operator")
    assert {message["title"].split(":")[0] for message in approvals.received} == {"Approval needed"}
    service.forget()


def test_a_rollback_is_notified(service: Live, events: Channel) -> None:
    """A person rolls a run back."""
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
class Recipients:
    """Two that receive announcements; the second one is `down` for a while."""

    received: list[tuple[Sequence[str], str, str]] = field(default_factory=list)
    down: bool = False
    second: list[str] = field(default_factory=list)

    def announce(
        self, tags: Sequence[str], title: str, text: str, reached: Collection[str]
    ) -> Delivery:
        if "first" not in reached:
            self.received.append((tags, title, text))
        if self.down:
            return Delivery(reached=frozenset({"first"}), failures="JSON answered 503")
        self.second.append(title)
        return Delivery(reached=frozenset({"first", "second"}))


@dataclass
class NotifierUnderTest:
    """The notifier and its audit tail, without threads."""

    state: Database
    clock: Clock
    recipients: Recipients = field(default_factory=Recipients)
    per_minute: int = 20

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.notifier = Notifier(
            database=self.state,
            announce=self.recipients.announce,
            metrics=NotifyMetrics(self.registry),
            public_url=None,
            per_minute=self.per_minute,
            clock=self.clock,
        )
        self.tail = self.again()
        self.tail.catch_up()

    def again(self) -> AuditTail:
        """As after a restart."""
        notifier = self.notifier
        return AuditTail(self.state, "test", EVENTS, notifier.on_record, notifier.on_idle)

    def happens(self, event: str, run_id: str | None = None, **detail: object) -> None:
        with self.state.write() as connection:
            record = log.Event(actor="test", event=event, run_id=run_id, detail=detail)
            log.append(connection, self.clock(), record)

    def counted(self, kind: MessageKind, outcome: str) -> float:
        name, labels = "smartcloudops_notifications_total", {"kind": kind, "outcome": outcome}
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def notifying(state: Database, clock: Clock) -> NotifierUnderTest:
    with state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="past", comment="long ago", now=clock())
    return NotifierUnderTest(state, clock)


def _fail(notifying: NotifierUnderTest, number: int, target: str = HOSTS[0]) -> None:
    notifying.happens("run_failed", f"{number:026d}", target=target, outcome="it did not help")


def test_old_records_are_not_sent(notifying: NotifierUnderTest) -> None:
    """A new tail starts at the end, and after a stop of a day old records are skipped."""
    assert notifying.recipients.received == []
    _fail(notifying, 1)
    notifying.clock.now += 86_500
    notifying.again().catch_up()
    assert notifying.recipients.received == []


def test_a_late_message_says_when_it_happened(notifying: NotifierUnderTest) -> None:
    """After a stop of hours people still hear of what failed before it."""
    _fail(notifying, 1)
    happened = rfc3339(notifying.clock())
    notifying.clock.now += 4000
    notifying.again().catch_up()
    ((_, title, text),) = notifying.recipients.received
    assert title == f"Failed: {HOSTS[0]}"
    assert f"This happened at {happened}." in text


def test_equal_messages_are_sent_once_and_summarised(notifying: NotifierUnderTest) -> None:
    """Within five minutes; another target is another message."""
    for number in range(5):
        _fail(notifying, number)
    _fail(notifying, 9, HOSTS[1])
    notifying.tail.catch_up()
    assert [title for _, title, _ in notifying.recipients.received] == [
        f"Failed: {HOSTS[0]}",
        f"Failed: {HOSTS[1]}",
    ]
    notifying.clock.now += 301
    notifying.tail.catch_up()
    tags, title, text = notifying.recipients.received[-1]
    assert (tags, title) == (["failed", "events"], "SmartCloudOps: similar notifications")
    assert "4 failed" in text
    assert notifying.counted(MessageKind.FAILED, "left_out") == 4
    _fail(notifying, 10)
    notifying.tail.catch_up()
    assert len(notifying.recipients.received) == 4


def test_the_rate_is_limited(state: Database, clock: Clock) -> None:
    """A storm of approvals, each for another run: the rest is summarised."""
    notifying = NotifierUnderTest(state, clock, per_minute=3)
    for number in range(50):
        notifying.happens("run_awaiting_approval", f"{number:026d}", plan={"action": "x"})
    notifying.tail.catch_up()
    assert len(notifying.recipients.received) == 3
    notifying.clock.now += 301
    notifying.tail.catch_up()
    assert "47 approval_needed" in notifying.recipients.received[-1][2]


def test_each_record_is_passed_on_once(notifying: NotifierUnderTest) -> None:
    """By two processes, and over a restart."""
    other = notifying.again()
    _fail(notifying, 1)
    notifying.tail.catch_up()
    other.catch_up()
    notifying.again().catch_up()
    assert len(notifying.recipients.received) == 1


def test_a_message_outlives_a_crash_before_it_is_sent(notifying: NotifierUnderTest) -> None:
    """It is on disk with the tail's position: the next process sends it."""
    _fail(notifying, 1)
    crashed = AuditTail(notifying.state, "test", EVENTS, notifying.notifier.on_record)
    crashed.catch_up()
    assert notifying.recipients.received == []
    notifying.again().catch_up()
    assert [title for _, title, _ in notifying.recipients.received] == [f"Failed: {HOSTS[0]}"]


def test_a_recipient_that_is_down_gets_it_later(notifying: NotifierUnderTest) -> None:
    """However long it takes; who has the message gets it once, and the next one is not delayed."""
    notifying.recipients.down = True
    _fail(notifying, 1)
    for _ in range(6):
        notifying.tail.catch_up()
        notifying.clock.now += 601
    _fail(notifying, 2, HOSTS[1])
    notifying.tail.catch_up()
    titles = [title for _, title, _ in notifying.recipients.received]
    assert titles == [f"Failed: {HOSTS[0]}", f"Failed: {HOSTS[1]}"]
    assert notifying.counted(MessageKind.FAILED, "failed") == 1
    notifying.recipients.down = False
    notifying.clock.now += 601
    notifying.again().catch_up()
    assert notifying.recipients.second == titles
    assert len(notifying.recipients.received) == len(titles)
    assert notifying.counted(MessageKind.FAILED, "sent") == 2


def test_a_step_is_an_act_an_escalation_or_nothing(clock: Clock) -> None:
    """A step that changed nothing, and a step of a rollback, are not notified."""

    def kind(**detail: object) -> MessageKind | None:
        record = Record(
            seq=1, at=clock(), actor="x", event="step_observed", run_id="1", detail=detail
        )
        message = make_message(record, None, None)
        return message.kind if message else None

    assert kind(action="reboot_instance", outcome="changed", target="t") is MessageKind.ACTED
    assert kind(action="reboot_instance", outcome="unknown", target="t") is MessageKind.ACTED
    assert kind(action="reboot_instance", outcome="failed", target="t") is None
    assert kind(action="reboot_instance", outcome="changed", target="t", undoes=0) is None
    assert kind(action="notify", outcome="changed", target="t") is MessageKind.ESCALATED


def test_no_run_is_read_for_a_record_without_a_message(notifying: NotifierUnderTest) -> None:
    detail = {"action": "capture", "outcome": "changed"}
    record = Record(
        seq=1, at=notifying.clock(), actor="x", event="step_observed", run_id="1", detail=detail
    )
    with notifying.state.ask() as connection:
        pass
    # A closed connection reads nothing.
    notifying.notifier.on_record(connection, record)


def test_arming_and_disarming_are_notified(clock: Clock) -> None:
    """The playbook, the service and the person; each time again."""

    def title(event: str, **detail: object) -> str:
        fields = {"playbook": "high-cpu", "comment": "so", **detail}
        record = Record(seq=1, at=clock(), actor="ann", event=event, run_id=None, detail=fields)
        message = make_message(record, None, None)
        assert message is not None
        assert (message.kind, message.text) == (MessageKind.ARMING, "so")
        return message.title

    armed = title("playbook_armed", mode="auto", service="web-asg")
    assert armed == "Playbook high-cpu is armed to auto for web-asg by ann"
    disarmed = title("playbook_disarmed", mode="observe", service=None)
    assert disarmed == "Playbook high-cpu is disarmed by ann"


def test_a_broken_glass_is_notified(clock: Clock) -> None:
    """Who holds the token, and from where it was used."""
    detail = {"person": "ann@example.com", "origin": {"address": "10.0.0.9"}}
    record = Record(
        seq=1, at=clock(), actor="glass-ann", event="break_glass_used", run_id=None, detail=detail
    )
    message = make_message(record, None, None)
    assert message is not None
    assert message.kind is MessageKind.BREAK_GLASS
    assert message.title == "A break-glass token is used by glass-ann"
    assert message.text == "ann example.com, from 10.0.0.9"


def test_hostile_text_is_plain() -> None:
    """No mention, no markup, no second line, no end."""
    line = plain("<!everyone> <https://evil|click>\n@here `rm` \u202e" + "x" * 9000)
    assert len(line) <= 500
    assert not set(line) & set("<>@`\n\u202e")


def test_no_address_of_the_file_gets_into_the_log(tmp_path: Path) -> None:
    """At level DEBUG, where no server answers."""
    file = tmp_path / "notify.conf"
    file.write_text(f"events=json://user:{_SECRET}@127.0.0.1:1/{_SECRET}/\n")
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        channels = Channels(Alertmanager("http://alertmanager", httpx.Client()), file)
        channels.announce(["nobody"], "title", "text")
        delivery = channels.announce(["failed", "events"], "title", "text")
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    assert delivery.failures
    assert _SECRET not in text.getvalue() + str(delivery)
