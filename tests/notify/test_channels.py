"""Recipients through Apprise, silences in Alertmanager, and the errors of both."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from actions.messaging import MessengerError
from receiver.monitoring.alertmanager import Alertmanager
from receiver.notify.channels import Channels
from receiver.notify.recipients import NotifyFileError

_SECRET = "hush-hush"
_COMMENT = "01K9ZZZZZZZZZZZZZZZZZZZZZZ/0"


@dataclass
class Chat:
    """A local service that takes JSON over HTTP, as a chat's webhook does."""

    port: int = 0
    status: int = 200
    received: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://user:{_SECRET}@127.0.0.1:{self.port}/{_SECRET}/"


@contextmanager
def _running_chat() -> Iterator[Chat]:
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            chat.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(chat.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        chat.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield chat
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def chat() -> Iterator[Chat]:
    with _running_chat() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Chat]:
    with _running_chat() as running:
        yield running


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a service at its loudest logs: pytest's own way listens to the silenced as well."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)


def _channels(folder: Path, text: str, name: str = "notify.conf") -> Channels:
    """Channels with a notification file of this text."""
    file = folder / name
    file.write_text(text)
    return Channels(Alertmanager("http://alertmanager", httpx.Client()), file)


def test_the_tagged_recipient_gets_the_message(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """Title and text arrive unchanged at the recipients with the tag and at no others."""
    channels = _channels(tmp_path, f"oncall={chat.url}\nmanagers={other.url}\n")
    channels.notify("oncall", "SmartCloudOps: web-asg", "look <at> *this*\nrun 1")
    (message,) = chat.received
    assert (message["title"], message["message"]) == (
        "SmartCloudOps: web-asg",
        "look <at> *this*\nrun 1",
    )
    assert other.received == []


def test_a_file_may_be_yaml_and_include_another(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """Both of Apprise's forms, under any name."""
    (tmp_path / "more.yaml").write_text(f"urls:\n  - {other.url}:\n      - tag: managers\n")
    text = f"include: more.yaml\nurls:\n  - {chat.url}:\n      - tag: oncall\n"
    channels = _channels(tmp_path, text, "who is #1?.yaml")
    channels.notify("oncall", "title", "text")
    channels.notify("managers", "title", "text")
    assert (len(chat.received), len(other.received)) == (1, 1)


def test_the_tags_all_and_always(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """`all` selects the whole file; `always` gets each message that some recipient gets."""
    channels = _channels(tmp_path, f"oncall={chat.url}\nalways={other.url}\n")
    channels.notify("all", "title", "text")
    channels.notify("oncall", "title", "text")
    assert (len(chat.received), len(other.received)) == (2, 2)
    with pytest.raises(MessengerError) as refused:
        channels.notify("onclal", "title", "text")
    assert not refused.value.sent
    assert len(other.received) == 2


def test_a_recipient_that_fails_is_reported(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """The other one gets the message, and the error has the status of the failed one."""
    channels = _channels(tmp_path, f"oncall={chat.url}\noncall={other.url}\n")
    other.status = 403
    with pytest.raises(MessengerError, match="was notified: JSON answered 403"):
        channels.notify("oncall", "title", "text")
    assert len(chat.received) == 1


def test_failures_say_whether_they_were_sent_and_quote_no_secret(
    tmp_path: Path, chat: Chat, log: io.StringIO
) -> None:
    """Neither the error nor the log, at its loudest, has an address of the file."""
    channels = _channels(
        tmp_path, f"oncall={chat.url}\ngone=json://{_SECRET}:{_SECRET}@127.0.0.1:1"
    )
    errors = []
    for to, status, sent in (("oncall", 500, True), ("gone", 200, True), ("nobody", 200, False)):
        chat.status = status
        with pytest.raises(MessengerError) as caught:
            channels.notify(to, "title", "text")
        assert caught.value.sent is sent
        errors.append(str(caught.value))
    chat.status = 200
    channels.notify("oncall", "title", "text")
    assert _SECRET not in log.getvalue() + "".join(errors)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notify.conf", ""),
        ("notify.conf", "# no recipient yet\n"),
        ("notify.conf", "oncall=json://host/\nmanagers=nonsense://{secret}\n"),
        ("notify.conf", "oncall=json://host/\n%%% {secret}\n"),
        ("notify.conf", "oncall=slack://{secret}\n"),
        ("notify.yaml", "urls: []"),
        ("notify.yaml", "urls:\n  - json://host/\n  - nonsense://{secret}\n"),
        ("notify.yaml", "include: missing.yaml\nurls:\n  - json://host/\n"),
        ("notify.yaml", "{{{{{{ {secret}"),
    ],
)
def test_a_file_of_which_any_part_cannot_be_used_is_refused(
    tmp_path: Path, log: io.StringIO, name: str, text: str
) -> None:
    """At the start, not at 3 a.m., and without quoting it."""
    with pytest.raises(NotifyFileError, match=name) as caught:
        _channels(tmp_path, text.format(secret=_SECRET), name)
    assert _SECRET not in log.getvalue() + str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A typing error in the setting would else leave every message unsent."""
    with pytest.raises(NotifyFileError, match="No such file"):
        Channels(Alertmanager("http://alertmanager", httpx.Client()), tmp_path / "missing.conf")


def test_without_a_file_no_recipient_is_tagged() -> None:
    """The error says so."""
    with pytest.raises(MessengerError, match="no recipient is tagged 'oncall'") as caught:
        Channels(Alertmanager("http://alertmanager", httpx.Client()), None).notify(
            "oncall", "title", "text"
        )
    assert not caught.value.sent


Answer = httpx.Response | Exception


@dataclass
class FakeAlertmanager:
    """Gives its answers in turn, and keeps the requests."""

    answers: list[Answer]
    requests: list[httpx.Request] = field(default_factory=list)

    def channels(self, clock: Callable[[], float] = lambda: 1_800_000_000.0) -> Channels:
        def respond(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        client = httpx.Client(transport=httpx.MockTransport(respond))
        url = f"http://user:{_SECRET}@alertmanager.example/prefix/"
        return Channels(Alertmanager(url, client), None, clock=clock)


def _silence(silence_id: str, state: str, comment: str = _COMMENT) -> dict[str, object]:
    return {"id": silence_id, "comment": comment, "status": {"state": state}, "matchers": []}


def test_a_silence_has_exact_matchers_and_an_end() -> None:
    """Nothing but the alert and the target is silenced, and it lapses by itself."""
    there = FakeAlertmanager([httpx.Response(200, json={"silenceID": "b3b1c9a0-6a3f"})])
    silence_id = there.channels().create_silence(
        {"alertname": "InstanceDown", "instance_id": "i-1"}, lasts_s=600, comment=_COMMENT
    )
    assert silence_id == "b3b1c9a0-6a3f"
    (request,) = there.requests
    assert (request.method, request.url.path) == ("POST", "/prefix/api/v2/silences")
    assert json.loads(request.content) == {
        "matchers": [
            {"name": "alertname", "value": "InstanceDown", "isRegex": False, "isEqual": True},
            {"name": "instance_id", "value": "i-1", "isRegex": False, "isEqual": True},
        ],
        "startsAt": "2027-01-15T08:00:00+00:00",
        "endsAt": "2027-01-15T08:10:00+00:00",
        "createdBy": "smartcloudops",
        "comment": _COMMENT,
    }


def test_silences_are_found_by_their_comment() -> None:
    """Active and pending silences with this comment, none with another."""
    silences = [
        _silence("a", "active"),
        _silence("b", "expired"),
        _silence("c", "pending"),
        _silence("d", "active", "lunch"),
        _silence("e", "active", _COMMENT + "0"),
    ]
    there = FakeAlertmanager([httpx.Response(200, json=silences)])
    assert there.channels().find_silences(_COMMENT) == ["a", "c"]


def test_a_silence_is_ended() -> None:
    """By its id, which is data and no path."""
    there = FakeAlertmanager([httpx.Response(200), httpx.Response(200)])
    there.channels().expire_silence("b3b1c9a0-6a3f")
    there.channels().expire_silence("../silences")
    assert [(request.method, request.url.raw_path) for request in there.requests] == [
        ("DELETE", b"/prefix/api/v2/silence/b3b1c9a0-6a3f"),
        ("DELETE", b"/prefix/api/v2/silence/..%2Fsilences"),
    ]


@pytest.mark.parametrize("refusal", [404, 422, 500])
@pytest.mark.parametrize("left", [[], [_silence("a", "expired")]])
def test_a_silence_that_is_over_is_left(refusal: int, left: list[dict[str, object]]) -> None:
    """Ending it twice is no error, whatever a version of Alertmanager answers to that."""
    there = FakeAlertmanager([httpx.Response(refusal), httpx.Response(200, json=left)])
    there.channels().expire_silence("a")
    assert [request.method for request in there.requests] == ["DELETE", "GET"]


@pytest.mark.parametrize(
    "then", [httpx.Response(200, json=[_silence("a", "active")]), httpx.ConnectError("no")]
)
def test_a_silence_that_stays_active_is_an_error(then: Answer) -> None:
    """And so is a silence whose state cannot be read."""
    there = FakeAlertmanager([httpx.Response(500), then])
    with pytest.raises(MessengerError):
        there.channels().expire_silence("a")


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (httpx.ConnectError(_SECRET), False),
        (httpx.ConnectTimeout(_SECRET), False),
        (httpx.PoolTimeout(_SECRET), False),
        (httpx.ReadTimeout(_SECRET), True),
        (httpx.RemoteProtocolError(_SECRET), True),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), False),
        (httpx.Response(400, text=_SECRET), False),
        (httpx.Response(503), True),
        (httpx.Response(200, text="<html>"), True),
        (httpx.Response(200, json={"silenceID": "a b"}), True),
    ],
)
def test_an_error_says_whether_the_request_was_sent(answer: Answer, *, sent: bool) -> None:
    """A refused request did nothing; a lost answer is unknown; neither error names an address."""
    there = FakeAlertmanager([answer])
    with pytest.raises(MessengerError, match="Alertmanager") as caught:
        there.channels().create_silence({"alertname": "A"}, lasts_s=60, comment=_COMMENT)
    assert caught.value.sent is sent
    assert _SECRET not in str(caught.value)
    assert "example" not in str(caught.value)
    assert len(there.requests) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"id": 1}]'])
def test_a_malformed_list_is_an_error(body: bytes) -> None:
    """Rather than no silences."""
    there = FakeAlertmanager([httpx.Response(200, content=body)])
    with pytest.raises(MessengerError, match="does not match the API"):
        there.channels().find_silences(_COMMENT)


def test_an_invalid_address_is_an_error() -> None:
    """Nothing was sent there."""
    channels = Channels(Alertmanager("alertmanager:9093", httpx.Client()), None)
    with pytest.raises(MessengerError) as caught:
        channels.create_silence({"alertname": "A"}, lasts_s=60, comment=_COMMENT)
    assert not caught.value.sent
