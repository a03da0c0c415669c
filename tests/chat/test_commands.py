"""What people do from a chat: signed, taken once, by whom we know, as far as their role goes."""

import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.chat.slack import FormError, button, command
from receiver.chat.wiring import ChatError, chat
from receiver.http.signatures import sign
from receiver.settings import Settings
from tests.api_fixtures import HOSTS, Live
from tests.chat import chat_fixtures
from tests.chat.chat_fixtures import SECRET, Hooks, chatting, say, signed

_COMMANDS, _ACTIONS = "/chat/slack/commands", "/chat/slack/actions"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Hooks]]:
    with chatting(tmp_path_factory.mktemp("chat")) as made:
        yield made


@pytest.fixture
def service(both: tuple[Live, Hooks]) -> Iterator[Live]:
    service = both[0]
    yield service
    service.forget()


@pytest.fixture
def hooks(both: tuple[Live, Hooks]) -> Hooks:
    both[1].said.clear()
    return both[1]


def test_our_signature_is_the_one_that_slack_documents() -> None:
    """By the example of its own page."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015"
        b".47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    expected = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v0="},
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Request-Timestamp": ""},
        {"X-Slack-Request-Timestamp": "-1"},
        {"X-Slack-Request-Timestamp": "9" * 30},
        {"X-Slack-Request-Timestamp": "1531420618"},
    ],
)
def test_what_is_not_signed_so_is_not_read(service: Live, changed: dict[str, str]) -> None:
    """401, and nothing is paused."""
    body = chat_fixtures.command("pause now")
    headers = {**signed(body), **changed}
    answer = service.call("POST", _COMMANDS, headers=headers, content=body)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert say(service, "status").startswith("Running")


@pytest.mark.parametrize("seconds", [-310, 310])
def test_an_old_request_and_one_of_the_future_are_refused(service: Live, seconds: int) -> None:
    """Though the signature itself is right."""
    body = chat_fixtures.command("status")
    headers = signed(body, at=time.time() + seconds)
    answer = service.call("POST", _COMMANDS, headers=headers, content=body)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_a_request_is_taken_once(service: Live) -> None:
    """Whoever recorded it cannot play it again; another body under its signature is none."""
    body = chat_fixtures.command("status")
    headers = signed(body)
    call = {"headers": headers, "content": body}
    codes = [service.call("POST", _COMMANDS, **call).status_code for _ in range(2)]  # type: ignore[arg-type] # as httpx takes them
    assert codes == [HTTPStatus.OK, HTTPStatus.UNAUTHORIZED]
    changed = {"headers": headers, "content": body.replace(b"status", b"pause+x")}
    answer = service.call("POST", _COMMANDS, **changed)  # type: ignore[arg-type] # as httpx takes them
    assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_another_secret_signs_nothing(service: Live) -> None:
    """Nor does an empty one."""
    body = chat_fixtures.command("status")
    for secret in ("", "guess", SECRET + "\n"):
        headers = signed(body, secret=secret)
        answer = service.call("POST", _COMMANDS, headers=headers, content=body)
        assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_pause_and_resume_are_on_record_with_the_name(service: Live) -> None:
    """With who, from where and why; a comment is needed."""
    assert say(service, "pause") == "Say why: a comment is needed."
    assert say(service, "pause deploying & <b>") == "Paused: nothing acts."
    assert "PAUSED by alice" in say(service, "status")
    assert say(service, "resume deployed") == "Resumed."
    paused = next(one for one in service.audit() if one["event"] == "paused")
    assert (paused["actor"], paused["detail"]["comment"]) == ("alice", "deploying & <b>")
    assert paused["detail"]["origin"]["address"] == "slack:T1/U1"
    assert paused["detail"]["origin"]["role"] == "operator"


@pytest.mark.parametrize(
    "text",
    [
        "pause x",
        "resume x",
        "approve R x",
        "deny R x",
        "cancel R x",
        "rollback R x",
        "mark R right x",
    ],
)
def test_a_viewer_may_only_look(service: Live, text: str) -> None:
    """Whatever is said after the verb."""
    assert say(service, text, user="U2") == "That needs the role operator; yours is viewer."
    assert say(service, "status", user="U2").startswith("Running")


@pytest.mark.parametrize(("user", "team"), [("U9", "T1"), ("U1", "T2")])
def test_a_stranger_is_told_so(service: Live, user: str, team: str) -> None:
    """The same user id in another workspace is somebody else."""
    assert f"slack:{team}/{user}" in say(service, "pause x", user=user, team=team)
    assert say(service, "status").startswith("Running")


def test_why_tells_the_story_of_a_run(service: Live) -> None:
    """The gate that stopped it; an id that is none is no run."""
    service.prometheus.value = "0"
    try:
        run = service.until(service.start("acting", HOSTS[0])["id"], "refused")
    finally:
        service.prometheus.value = "1"
    said = say(service, f"why {run['id'].lower()}")
    assert "refused (verdict_refuted)" in said
    assert "stopped at verdict" in said
    assert run["id"] in say(service, "runs")
    assert say(service, "why nothing") == "There is no such run."
    assert "status:" in say(service, "what?")


def test_buttons_approve_the_plan_that_was_shown(service: Live, hooks: Hooks) -> None:
    """Once; by somebody who may; the next press changes nothing."""
    run = service.asking(HOSTS[1])
    body = chat_fixtures.command("status")
    shown = service.call("POST", _COMMANDS, headers=signed(body), content=body).json()
    buttons = [one for block in shown["blocks"] for one in block.get("elements", ())]
    assert [one["action_id"] for one in buttons] == ["approve", "deny"]
    value = buttons[0]["value"]
    before = len(service.aws.calls)
    _press(service, "approve", value, user="U2")
    hooks.until("needs the role operator")
    _press(service, "approve", f"{run['id']}:{'0' * 64}")
    hooks.until("another one by now")
    assert len(service.aws.calls) == before
    _press(service, "approve", value)
    assert hooks.until("Approved")["replace_original"] is True
    done = service.until(run["id"], "succeeded")
    assert done["approval"]["by"] == "alice"
    _press(service, "deny", value)
    hooks.until("cannot be denied")
    assert len(service.aws.calls) == before + 1


def _press(service: Live, what: str, value: str, **who: str) -> None:
    body = chat_fixtures.button(what, value, **who)
    answer = service.call("POST", _ACTIONS, headers=signed(body), content=body)
    assert (answer.status_code, answer.json()) == (HTTPStatus.OK, {})


def test_verbs_do_what_the_api_does(service: Live) -> None:
    """Deny, mark and cancel, by the same ids and into the same records."""
    run = service.asking(HOSTS[2])
    assert say(service, f"mark {run['id']} perhaps x").startswith("Was it right or wrong?")
    assert "cannot be marked" in say(service, f"mark {run['id']} right x")
    assert say(service, f"deny {run['id']}") == "Say why: a comment is needed."
    assert say(service, f"deny {run['id']} not now") == f"Denied: run {run['id']}"
    assert say(service, f"mark {run['id']} right well done").startswith("Marked as right")
    story = service.until(run["id"], "cancelled")
    assert (story["mark"]["right"], story["mark"]["by"]) == (True, "alice")
    other = service.asking(HOSTS[2])
    assert say(service, f"cancel {other['id']} mine") == f"Cancelled: run {other['id']}"
    assert "nothing that can be undone" in say(service, f"rollback {other['id']} x")


def test_another_chat_says_the_same_over_the_webhook(service: Live) -> None:
    """JSON, under its own users, signed alike."""

    def webhook(content: Any, **changed: str) -> httpx.Response:
        body = json.dumps(content).encode()
        timestamp = str(int(time.time()))
        headers = {
            "X-SmartCloudOps-Timestamp": timestamp,
            "X-SmartCloudOps-Signature": sign(SECRET, timestamp, body),
        }
        return service.call("POST", "/chat/webhook", headers={**headers, **changed}, content=body)

    said = webhook({"user": "bob", "text": "pause by the webhook"})
    assert said.json() == {"text": "Paused: nothing acts."}
    assert webhook({"user": "bob", "text": "resume  again"}).json() == {"text": "Resumed."}
    assert "webhook:eve" in webhook({"user": "eve", "text": "pause x"}).json()["text"]
    assert webhook({"user": "bob"}).status_code == HTTPStatus.BAD_REQUEST
    wrong = webhook({"user": "bob", "text": "status"}, **{"X-SmartCloudOps-Signature": "v0=0"})
    assert wrong.status_code == HTTPStatus.UNAUTHORIZED
    assert say(service, "ask why?") == "Asking is not switched on."


def test_a_change_of_the_files_counts_at_once(service: Live) -> None:
    """Somebody who left may do nothing more; a file that is broken lets in nobody."""
    file = service.folder / "users.json"
    whole = file.read_text()
    try:
        for text in ("{}", "["):
            file.write_text(text)
            assert "I do not know you" in say(service, "status")
        secret = service.folder / "secret"
        secret.write_text("")
        body = chat_fixtures.command("status")
        headers = signed(body, secret="")
        answer = service.call("POST", _COMMANDS, headers=headers, content=body)
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    finally:
        file.write_text(whole)
        (service.folder / "secret").write_text(SECRET)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text=status",
        b"\xff\xfe",
        b"payload=1",
        b"payload={}",
        b'payload={"type":"block_actions","actions":[],"user":{"id":"U1"},"team":{"id":"T1"}}',
        b"payload=" + b"[" * 5000,
        b"&".join(b"a=1" for _ in range(100)),
    ],
)
def test_forms_that_slack_does_not_send_are_refused(service: Live, body: bytes) -> None:
    """Though they are signed."""
    for read, path in ((command, _COMMANDS), (button, _ACTIONS)):
        with pytest.raises(FormError):
            read(body)
        headers = signed(body + b" " * len(path))
        answer = service.call("POST", path, headers=headers, content=body + b" " * len(path))
        assert answer.status_code == HTTPStatus.BAD_REQUEST


def test_answers_go_to_slack_and_nowhere_else() -> None:
    """A response_url of somewhere else would have us call it."""
    for url in (
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil/x",
        "http://169.254.169.254/",
    ):
        body = chat_fixtures.command("status").replace(
            b"https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1%2F2%2F3", url.encode()
        )
        assert command(body).later is None
    assert command(chat_fixtures.command("status")).later == chat_fixtures.HOOK


def test_a_chat_that_cannot_be_had_is_said_at_the_start(tmp_path: Path, service: Live) -> None:
    """Not at the first command, in the middle of the night."""
    secret = tmp_path / "secret"
    users = tmp_path / "users.json"
    users.write_text("{}")
    with httpx.Client() as client:
        assert chat(Settings(), service.system, client) is None
        for changed in (
            {"slack_secret_file": secret},
            {"slack_secret_file": secret, "chat_users_file": users},
            {"chat_secret_file": users, "chat_users_file": secret},
        ):
            with pytest.raises(ChatError):
                chat(Settings.model_validate(changed), service.system, client)
