"""People are told through Apprise, silences go to Alertmanager, and failures have names."""

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
from receiver.notify.channels import NotifyFileError, Services

_SECRET = "hush-hush"
_COMMENT = "01K9ZZZZZZZZZZZZZZZZZZZZZZ/0"


@dataclass
class Chat:
    """A local service that takes JSON over HTTP, as a chat's webhook does."""

    port: int = 0
    status: int = 200
    told: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://user:{_SECRET}@127.0.0.1:{self.port}/{_SECRET}/"


@contextmanager
def _chatting() -> Iterator[Chat]:
    chat = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            chat.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
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
    with _chatting() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Chat]:
    with _chatting() as found:
        yield found


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


def _telling(folder: Path, text: str, name: str = "notify.conf") -> Services:
    """Services that tell whom a file with this text names."""
    file = folder / name
    file.write_text(text)
    return Services("http://alertmanager", file, httpx.Client())


def test_people_are_told(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """Title and text arrive as they are, at those that have the tag and at no one else."""
    services = _telling(tmp_path, f"oncall={chat.url}\nmanagers={other.url}\n")
    services.notify("oncall", "SmartCloudOps: web-asg", "look <at> *this*\nrun 1")
    (told,) = chat.told
    assert (told["title"], told["message"]) == ("SmartCloudOps: web-asg", "look <at> *this*\nrun 1")
    assert other.told == []


def test_a_file_may_be_yaml_and_include_another(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """Both of Apprise's forms, under any name."""
    (tmp_path / "more.yaml").write_text(f"urls:\n  - {other.url}:\n      - tag: managers\n")
    text = f"include: more.yaml\nurls:\n  - {chat.url}:\n      - tag: oncall\n"
    services = _telling(tmp_path, text, "who is #1?.yaml")
    services.notify("oncall", "title", "text")
    services.notify("managers", "title", "text")
    assert (len(chat.told), len(other.told)) == (1, 1)


def test_everybody_and_those_that_always_hear(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """`all` is the whole file; who is named `always` hears what others are told, if they exist."""
    services = _telling(tmp_path, f"oncall={chat.url}\nalways={other.url}\n")
    services.notify("all", "title", "text")
    services.notify("oncall", "title", "text")
    assert (len(chat.told), len(other.told)) == (2, 2)
    with pytest.raises(MessengerError) as nobody:
        services.notify("onclal", "title", "text")
    assert not nobody.value.sent
    assert len(other.told) == 2


def test_one_of_two_that_fails_is_not_passed_over(tmp_path: Path, chat: Chat, other: Chat) -> None:
    """The one is told, and the error says what the other one answered."""
    services = _telling(tmp_path, f"oncall={chat.url}\noncall={other.url}\n")
    other.status = 403
    with pytest.raises(MessengerError, match="oncall may not have been told: JSON answered 403"):
        services.notify("oncall", "title", "text")
    assert len(chat.told) == 1


def test_failures_say_whether_they_were_sent_and_quote_no_secret(
    tmp_path: Path, chat: Chat, log: io.StringIO
) -> None:
    """Neither the error nor the log, at its loudest, has an address of the file."""
    services = _telling(tmp_path, f"oncall={chat.url}\ngone=json://{_SECRET}:{_SECRET}@127.0.0.1:1")
    said = []
    for to, status, sent in (("oncall", 500, True), ("gone", 200, True), ("nobody", 200, False)):
        chat.status = status
        with pytest.raises(MessengerError) as caught:
            services.notify(to, "title", "text")
        assert caught.value.sent is sent
        said.append(str(caught.value))
    chat.status = 200
    services.notify("oncall", "title", "text")
    assert _SECRET not in log.getvalue() + "".join(said)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notify.conf", ""),
        ("notify.conf", "# nobody yet\n"),
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
        _telling(tmp_path, text.format(secret=_SECRET), name)
    assert _SECRET not in log.getvalue() + str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A typing error in the setting tells nobody, which must not be found out later."""
    with pytest.raises(NotifyFileError, match="No such file"):
        Services("http://alertmanager", tmp_path / "missing.conf", httpx.Client())


def test_without_a_file_there_is_nobody() -> None:
    """And that is said."""
    with pytest.raises(MessengerError, match="nobody to notify as 'oncall'") as caught:
        Services("http://alertmanager", None, httpx.Client()).notify("oncall", "title", "text")
    assert not caught.value.sent


Answer = httpx.Response | Exception


@dataclass
class Alertmanager:
    """Answers in turn, and what was asked."""

    answers: list[Answer]
    asked: list[httpx.Request] = field(default_factory=list)

    def services(self, clock: Callable[[], float] = lambda: 1_800_000_000.0) -> Services:
        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            found = self.answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        client = httpx.Client(transport=httpx.MockTransport(answer))
        url = f"http://user:{_SECRET}@alertmanager.example/prefix/"
        return Services(url, None, client, clock=clock)


def _listed(silence_id: str, state: str, comment: str = _COMMENT) -> dict[str, object]:
    return {"id": silence_id, "comment": comment, "status": {"state": state}, "matchers": []}


def test_a_silence_has_exact_matchers_and_an_end() -> None:
    """Nothing but the alert and the target is silenced, and it lapses by itself."""
    there = Alertmanager([httpx.Response(200, json={"silenceID": "b3b1c9a0-6a3f"})])
    made = there.services().silence(
        {"alertname": "InstanceDown", "instance_id": "i-1"}, lasts_s=600, comment=_COMMENT
    )
    assert made == "b3b1c9a0-6a3f"
    (asked,) = there.asked
    assert (asked.method, asked.url.path) == ("POST", "/prefix/api/v2/silences")
    assert json.loads(asked.content) == {
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
    """Those that hold or are about to, and none of a person's."""
    found = [
        _listed("a", "active"),
        _listed("b", "expired"),
        _listed("c", "pending"),
        _listed("d", "active", "lunch"),
        _listed("e", "active", _COMMENT + "0"),
    ]
    there = Alertmanager([httpx.Response(200, json=found)])
    assert there.services().silences(_COMMENT) == ["a", "c"]


def test_a_silence_is_ended() -> None:
    """By its id, which is data and no path."""
    there = Alertmanager([httpx.Response(200), httpx.Response(200)])
    there.services().expire("b3b1c9a0-6a3f")
    there.services().expire("../silences")
    assert [(one.method, one.url.raw_path) for one in there.asked] == [
        ("DELETE", b"/prefix/api/v2/silence/b3b1c9a0-6a3f"),
        ("DELETE", b"/prefix/api/v2/silence/..%2Fsilences"),
    ]


@pytest.mark.parametrize("refusal", [404, 422, 500])
@pytest.mark.parametrize("left", [[], [_listed("a", "expired")]])
def test_a_silence_that_is_over_is_left(refusal: int, left: list[dict[str, object]]) -> None:
    """Ending it twice is no error, whatever a version of Alertmanager answers to that."""
    there = Alertmanager([httpx.Response(refusal), httpx.Response(200, json=left)])
    there.services().expire("a")
    assert [one.method for one in there.asked] == ["DELETE", "GET"]


@pytest.mark.parametrize(
    "then", [httpx.Response(200, json=[_listed("a", "active")]), httpx.ConnectError("no")]
)
def test_a_silence_that_holds_on_is_an_error(then: Answer) -> None:
    """And so is one of which nobody knows."""
    there = Alertmanager([httpx.Response(500), then])
    with pytest.raises(MessengerError):
        there.services().expire("a")


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
def test_an_error_says_whether_it_may_have_been_done(answer: Answer, *, sent: bool) -> None:
    """A refusal surely did nothing; a lost answer is unknown; neither names an address."""
    there = Alertmanager([answer])
    with pytest.raises(MessengerError, match="Alertmanager") as caught:
        there.services().silence({"alertname": "A"}, lasts_s=60, comment=_COMMENT)
    assert caught.value.sent is sent
    assert _SECRET not in str(caught.value)
    assert "example" not in str(caught.value)
    assert len(there.asked) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"id": 1}]'])
def test_a_list_that_is_none_is_an_error(body: bytes) -> None:
    """Rather than no silences."""
    there = Alertmanager([httpx.Response(200, content=body)])
    with pytest.raises(MessengerError, match="not of the form"):
        there.services().silences(_COMMENT)


def test_an_address_that_is_none_is_an_error() -> None:
    """Nothing was sent there."""
    services = Services("alertmanager:9093", None, httpx.Client())
    with pytest.raises(MessengerError) as caught:
        services.silence({"alertname": "A"}, lasts_s=60, comment=_COMMENT)
    assert not caught.value.sent
