"""A chat that signs what it sends, and a model behind an OpenAI-compatible API, both local."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from receiver.http.signatures import sign
from tests.api_fixtures import Live, live

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
HOOK = "https://hooks.slack.com/commands/T1/2/3"
USERS = {
    "slack:T1/U1": {"name": "alice", "role": "operator"},
    "slack:T1/U2": {"name": "victor", "role": "viewer"},
    "webhook:bob": {"name": "bob", "role": "operator"},
}


@dataclass
class Hooks:
    """Slack's response_url: what was said later."""

    said: list[dict[str, Any]] = field(default_factory=list)

    def take(self, request: httpx.Request) -> httpx.Response:
        self.said.append(json.loads(request.content))
        return httpx.Response(200)

    def until(self, words: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while not (found := [one for one in self.said if words in one["text"]]):
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)
        return found[0]


Answer = bytes | int | Callable[[Mapping[str, Any]], bytes]


@dataclass
class Model:
    """Gives its `answers` one after the other, the last one again and again."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""

    def script(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked.clear()


@contextmanager
def model() -> Iterator[Model]:
    made = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(body)
            made.keys.append(self.headers.get("Authorization", ""))
            answer = made.answers.pop(0) if len(made.answers) > 1 else made.answers[0]
            time.sleep(made.delay_s)
            content = answer(body) if callable(answer) else answer
            status = 200
            if isinstance(content, int):
                status, content = content, b"{}"
            self.send_response(status)
            if status == httpx.codes.FOUND:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Whoever asked has gone."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chatting(folder: Path, **changed: Any) -> Iterator[tuple[Live, Hooks]]:
    """A service whose chats are on."""
    hooks = Hooks()
    (folder / "secret").write_text(f"{SECRET}\n")
    (folder / "users.json").write_text(json.dumps(USERS))
    slack = {"https://hooks.slack.com": httpx.MockTransport(hooks.take)}
    with (
        httpx.Client(trust_env=False, mounts=slack) as client,
        live(
            folder,
            client=client,
            slack_secret_file=folder / "secret",
            chat_secret_file=folder / "secret",
            chat_users_file=folder / "users.json",
            **changed,
        ) as service,
    ):
        yield service, hooks


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers that Slack sends."""
    timestamp = str(int(time.time() if at is None else at))
    return {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": sign(secret, timestamp, body),
        "Content-Type": "application/x-www-form-urlencoded",
    }


_COUNT = iter(range(10**9))


def command(text: str, *, user: str = "U1", team: str = "T1") -> bytes:
    form = {
        "command": "/ops",
        "text": text,
        "team_id": team,
        "user_id": user,
        "response_url": HOOK,
        "trigger_id": str(next(_COUNT)),
    }
    return urlencode(form).encode()


def button(what: str, value: str, *, user: str = "U1") -> bytes:
    payload = {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": user, "username": "whatever"},
        "response_url": HOOK,
        "trigger_id": str(next(_COUNT)),
        "actions": [{"action_id": what, "value": value}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def say(service: Live, text: str, **who: str) -> str:
    """A slash command, and the text of its answer."""
    body = command(text, **who)
    answer = service.call("POST", "/chat/slack/commands", headers=signed(body), content=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    return str(answer.json()["text"])


def says(content: str) -> bytes:
    """An answer as recorded from such an API."""
    return _completion({"role": "assistant", "content": content, "refusal": None}, "stop")


def wants(*calls: tuple[str, object]) -> bytes:
    """The model wants to look something up."""
    made = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given),
            },
        }
        for number, (name, given) in enumerate(calls)
    ]
    return _completion({"role": "assistant", "content": None, "tool_calls": made}, "tool_calls")


def _completion(message: Mapping[str, Any], finish: str) -> bytes:
    said = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4.1-2025-04-14",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000},
        "service_tier": "default",
        "system_fingerprint": "fp_6b68a8204b",
    }
    return json.dumps(said).encode()
