"""Commands of the chat: signed, not replayable, from a known user, limited by the role."""

import json
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.chat.slack import FormError, parse_button, parse_command
from receiver.chat.wiring import ChatError, make_chat
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.http.access.signatures import sign
from receiver.settings import Settings
from tests.api_fixtures import HOSTS, Live
from tests.chat import chat_fixtures
from tests.chat.chat_fixtures import SECRET, Replies, chat_service, say, signed

_COMMANDS, _ACTIONS = "/chat/slack/commands", "/chat/slack/actions"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Replies]]:
    with chat_service(tmp_path_factory.mktemp("chat")) as service_and_replies:
        yield service_and_replies


@pytest.fixture
def service(both: tuple[Live, Replies]) -> Iterator[Live]:
    service = both[0]
    yield service
    service.forget()


@pytest.fixture
def replies(both: tuple[Live, Replies]) -> Replies:
    both[1].messages.clear()
    return both[1]


def test_a_signature_is_computed_as_slack_documents() -> None:
    """With the example of its documentation."""
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
def test_an_invalid_signature_is_refused(service: Live, changed: dict[str, str]) -> None:
    """401, and nothing is paused."""
    body = chat_fixtures.command("pause now")
    headers = {**signed(body), **changed}
    answer = service.call("POST", _COMMANDS, headers=headers, content=body)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert say(service, "status").startswith("Running")


@pytest.mark.parametrize("seconds", [-310, 310])
def test_an_old_or_future_timestamp_is_refused(service: Live, seconds: int) -> None:
    """Though the signature is valid."""
    body = chat_fixtures.command("status")
    headers = signed(body, at=time.time() + seconds)
    answer = service.call("POST", _COMMANDS, headers=headers, content=body)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_a_request_cannot_be_replayed(service: Live) -> None:
    """Nor does its signature cover another body."""
    body = chat_fixtures.command("status")
    headers = signed(body)
    codes = [
        service.call("POST", _COMMANDS, headers=headers, content=body).status_code for _ in range(2)
    ]
    assert codes == [HTTPStatus.OK, HTTPStatus.UNAUTHORIZED]
    other = body.replace(b"status", b"pause+x")
    answer = service.call("POST", _COMMANDS, headers=headers, content=other)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_a_signature_with_another_secret_is_refused(service: Live) -> None:
    """Also with an empty secret."""
    body = chat_fixtures.command("status")
    for secret in ("", "guess", SECRET + "\n"):
        headers = signed(body, secret=secret)
        answer = service.call("POST", _COMMANDS, headers=headers, content=body)
        assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_pause_and_resume_are_audited(service: Live) -> None:
    """With the actor, the address and the comment, which is required."""
    assert say(service, "pause") == "A comment is required: say why."
    assert say(service, "pause deploying & <b>") == "Paused: no new actions."
    assert "PAUSED by alice" in say(service, "status")
    assert say(service, "resume deployed") == "Resumed."
    paused = next(record for record in service.audit() if record["event"] == "paused")
    assert (paused["actor"], paused["detail"]["comment"]) == ("alice", "deploying & <b>")
    assert paused["detail"]["origin"]["address"] == "slack:T1/U1"
    assert paused["detail"]["origin"]["role"] == "operator"


@pytest.mark.parametrize(
    "text",
    [
        "pause x",
        "resume x",
        "approve R 00000000 x",
        "deny R 00000000 x",
        "cancel R x",
        "rollback R x",
        "mark R right x",
    ],
)
def test_a_viewer_may_only_read(service: Live, text: str) -> None:
    """The role is checked before the arguments."""
    assert say(service, text, user="U2") == "This requires the role operator; yours is viewer."
    assert say(service, "status", user="U2").startswith("Running")


@pytest.mark.parametrize(("user", "team"), [("U9", "T1"), ("U1", "T2")])
def test_an_unknown_user_is_refused(service: Live, user: str, team: str) -> None:
    """The same user id in another workspace is another user."""
    assert f"slack:{team}/{user}" in say(service, "pause x", user=user, team=team)
    assert say(service, "status").startswith("Running")


def test_why_explains_a_run(service: Live) -> None:
    """It names the gate that stopped the run."""
    service.prometheus.value = "0"
    try:
        run = service.until(service.start("acting", HOSTS[0])["id"], "refused")
    finally:
        service.prometheus.value = "1"
    reply = say(service, f"why {run['id'].lower()}")
    assert "refused (verdict_refuted)" in reply
    assert "stopped at gate verdict" in reply
    assert reply.count("the re-check found no incident") == 1
    assert reply.count("up does not hold") == 1
    assert run["id"] in say(service, "runs")
    assert say(service, "why nothing") == "There is no such run."
    assert "status:" in say(service, "what?")


def test_a_button_approves_the_plan_that_was_shown(service: Live, replies: Replies) -> None:
    """Once, and only for an operator."""
    run = service.asking(HOSTS[1])
    body = chat_fixtures.command("status")
    message = service.call("POST", _COMMANDS, headers=signed(body), content=body).json()
    buttons = [button for block in message["blocks"] for button in block.get("elements", ())]
    assert [button["action_id"] for button in buttons] == ["approve", "deny"]
    # The plan is shown, and asked once more.
    assert run["question"] in message["blocks"][1]["text"]["text"]
    assert run["question"].startswith(buttons[0]["confirm"]["text"]["text"][:200])
    value = buttons[0]["value"]
    before = len(service.aws.calls)
    _press(service, "approve", value, user="U2")
    replies.wait_for("requires the role operator")
    _press(service, "approve", f"{run['id']}:{'0' * 64}")
    replies.wait_for("nothing was changed")
    assert len(service.aws.calls) == before
    _press(service, "approve", value)
    assert replies.wait_for("approved reboot_instance")["replace_original"] is True
    run = service.until(run["id"], "succeeded")
    assert run["approval"]["by"] == "alice"
    _press(service, "deny", value)
    replies.wait_for("cannot be denied")
    assert len(service.aws.calls) == before + 1


def _press(service: Live, action: str, value: str, **user: str) -> None:
    body = chat_fixtures.button(action, value, **user)
    answer = service.call("POST", _ACTIONS, headers=signed(body), content=body)
    assert (answer.status_code, answer.json()) == (HTTPStatus.OK, {})


def test_a_button_of_a_shared_message_leaves_it_as_it_is(service: Live, replies: Replies) -> None:
    """The reply is for who pressed it; everybody still sees the incident."""
    value = f"01KAR0SZ1PCQSD8SGKXR6D7C9P:{'f' * 64}"
    for container, replaces in (({"is_ephemeral": False}, False), ({"is_ephemeral": True}, True)):
        replies.messages.clear()
        body = chat_fixtures.button("approve", value, container=container)
        service.call("POST", _ACTIONS, headers=signed(body), content=body)
        reply = replies.wait_for("no such run")
        assert reply["response_type"] == "ephemeral"
        assert reply.get("replace_original", False) is replaces


def test_commands_do_what_the_api_does(service: Live) -> None:
    """Deny, mark, cancel and rollback, by the same run ids."""
    run = service.asking(HOSTS[2])
    assert say(service, f"mark {run['id']} perhaps x").startswith("Right or wrong?")
    assert "cannot be marked" in say(service, f"mark {run['id']} right x")
    plan = run["plan"]["digest"][:8]
    assert f"plan {plan}" in say(service, "status")
    assert say(service, f"deny {run['id']} as I saw it").startswith("Which plan?")
    assert "nothing was changed" in say(service, f"deny {run['id']} {'0' * 8} as I saw it")
    assert say(service, f"deny {run['id']} {plan}") == "A comment is required: say why."
    denied = f"Run {run['id']}: denied reboot_instance on {HOSTS[2]} (plan {plan})"
    assert say(service, f"deny {run['id']} {plan} not now") == denied
    assert say(service, f"mark {run['id']} right well done").startswith("Marked as right")
    mark = service.until(run["id"], "cancelled")["mark"]
    assert (mark["right"], mark["by"]) == (True, "alice")
    other = service.asking(HOSTS[2])
    cancelled = f"Run {other['id']}: cancelled; no step was executed"
    assert say(service, f"cancel {other['id']} mine") == cancelled
    assert "no step that can be rolled back" in say(service, f"rollback {other['id']} x")


def test_another_chat_uses_the_webhook(service: Live) -> None:
    """With JSON, users of its own and the same kind of signature."""

    def webhook(content: Any, **other_headers: str) -> httpx.Response:
        body = json.dumps(content).encode()
        timestamp = str(int(time.time()))
        headers = {
            "X-SmartCloudOps-Timestamp": timestamp,
            "X-SmartCloudOps-Signature": sign(SECRET, timestamp, body),
        }
        return service.call(
            "POST", "/chat/webhook", headers={**headers, **other_headers}, content=body
        )

    reply = webhook({"user": "bob", "text": "pause by the webhook"})
    assert reply.json() == {"text": "Paused: no new actions."}
    assert webhook({"user": "bob", "text": "resume  again"}).json() == {"text": "Resumed."}
    assert "webhook:eve" in webhook({"user": "eve", "text": "pause x"}).json()["text"]
    assert webhook({"user": "bob"}).status_code == HTTPStatus.BAD_REQUEST
    wrong = webhook({"user": "bob", "text": "status"}, **{"X-SmartCloudOps-Signature": "v0=0"})
    assert wrong.status_code == HTTPStatus.UNAUTHORIZED
    assert say(service, "ask why?") == (
        "The assistant is off: set SMARTCLOUDOPS_ASK_URL and SMARTCLOUDOPS_ASK_MODEL."
    )


def test_a_person_counts_once_in_the_chat_and_by_a_token(service: Live) -> None:
    """As two of two people: by the chat user's `person`, if it differs from the name."""
    file = service.folder / "tokens.json"
    owned = tokens.create(file, Role.OPERATOR, "cli", owner="alice")
    service.application.state.tokens.refresh()
    users = service.folder / "users.json"
    content = users.read_text()
    erik = {"name": "erik", "role": "operator", "person": "erik@example.com"}
    users.write_text(json.dumps(json.loads(content) | {"slack:T1/U9": erik}))
    try:
        run = service.until(service.start("paired", HOSTS[0])["id"], "awaiting_approval")
        plan, path = run["plan"]["digest"], f"/api/v1/runs/{run['id']}/approve"
        assert "1 more" in say(service, f"approve {run['id']} {plan[:8]} go")
        headers = {"Authorization": f"Bearer {owned}"}
        again = service.call("POST", path, headers=headers, json={"comment": "go", "plan": plan})
        assert (again.status_code, len(again.json()["approvals"])) == (HTTPStatus.ACCEPTED, 1)
        assert say(service, f"approve {run['id']} {plan[:8]} go", user="U9").count("approved") == 1
        approvals = service.until(run["id"], "succeeded")["approvals"]
        assert [each["person"] for each in approvals] == ["alice", "erik@example.com"]
    finally:
        users.write_text(content)


def test_a_limited_role_is_limited_in_the_chat(service: Live) -> None:
    """To runs of its services; what is about everything is refused."""
    users = service.folder / "users.json"
    content = users.read_text()
    limited = {
        name: {"name": f"of-{name}", "role": "operator", "services": [service_name]}
        for name, service_name in (("web", "web-*"), ("other", "other"))
    }
    added = {f"slack:T1/{name.upper()}": user for name, user in limited.items()}
    users.write_text(json.dumps(json.loads(content) | added))
    try:
        run = service.asking(HOSTS[1])
        words, order = f"why {run['id']}", f"deny {run['id']} {run['plan']['digest'][:8]} no"
        assert run["id"] in say(service, "runs", user="WEB")
        assert run["id"] not in say(service, "runs", user="OTHER")
        assert run["id"] not in say(service, "status", user="OTHER")
        assert "reboot_instance" in say(service, words, user="WEB")
        for text in (words, order, f"cancel {run['id']} no", f"mark {run['id']} right so"):
            assert "does not extend to this run" in say(service, text, user="OTHER")
        pressed = chat_fixtures.button("deny", f"{run['id']}:{run['plan']['digest']}", user="OTHER")
        service.call("POST", _ACTIONS, headers=signed(pressed), content=pressed)
        assert service.until(run["id"], "awaiting_approval")["approvals"] == []
        for text in ("pause now", "resume now", "ask why?"):
            assert "for all services" in say(service, text, user="WEB")
        assert "denied reboot_instance" in say(service, order, user="WEB")
    finally:
        users.write_text(content)


def test_a_change_of_the_files_applies_at_once(service: Live) -> None:
    """A removed user is refused; a broken file refuses every user."""
    file = service.folder / "users.json"
    content = file.read_text()
    try:
        for text in ("{}", "["):
            file.write_text(text)
            assert "Unknown user" in say(service, "status")
        secret = service.folder / "secret"
        secret.write_text("")
        body = chat_fixtures.command("status")
        headers = signed(body, secret="")
        answer = service.call("POST", _COMMANDS, headers=headers, content=body)
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    finally:
        file.write_text(content)
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
def test_an_invalid_form_is_refused(service: Live, body: bytes) -> None:
    """Though its signature is valid."""
    for parse, path in ((parse_command, _COMMANDS), (parse_button, _ACTIONS)):
        with pytest.raises(FormError):
            parse(body)
        headers = signed(body + b" " * len(path))
        answer = service.call("POST", path, headers=headers, content=body + b" " * len(path))
        assert answer.status_code == HTTPStatus.BAD_REQUEST


def test_delayed_replies_go_to_slack_only() -> None:
    """Another response_url would make the service send requests to any host."""
    for url in (
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil/x",
        "http://169.254.169.254/",
    ):
        body = chat_fixtures.command("status").replace(
            b"https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1%2F2%2F3", url.encode()
        )
        assert parse_command(body).response_url is None
    assert parse_command(chat_fixtures.command("status")).response_url == chat_fixtures.HOOK


def test_unusable_settings_of_a_chat_are_reported_at_the_start(
    tmp_path: Path, service: Live
) -> None:
    """Not at the first command."""
    secret = tmp_path / "secret"
    users = tmp_path / "users.json"
    users.write_text("{}")
    with httpx.Client() as client:
        assert make_chat(Settings(), service.system, client) is None
        for changed in (
            {"slack_secret_file": secret},
            {"slack_secret_file": secret, "chat_users_file": users},
            {"chat_secret_file": users, "chat_users_file": secret},
        ):
            with pytest.raises(ChatError):
                make_chat(Settings.model_validate(changed), service.system, client)
