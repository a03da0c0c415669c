"""Local stand-ins: a chat that signs its requests, and an OpenAI-compatible API."""

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

from receiver.http.access.signatures import sign
from tests.api_fixtures import Live, live

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
HOOK = "https://hooks.slack.com/commands/T1/2/3"
USERS = {
    "slack:T1/U1": {"name": "alice", "role": "operator"},
    "slack:T1/U2": {"name": "victor", "role": "viewer"},
    "webhook:bob": {"name": "bob", "role": "operator"},
}


@dataclass
class Replies:
    """The messages that arrived at Slack's response_url."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def take(self, request: httpx.Request) -> httpx.Response:
        self.messages.append(json.loads(request.content))
        return httpx.Response(200)

    def wait_for(self, text: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while not (matches := [reply for reply in self.messages if text in reply["text"]]):
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.02)
        return matches[0]


Answer = bytes | int | Callable[[Mapping[str, Any]], bytes]


@dataclass
class Model:
    """Returns its `answers` in order, and repeats the last one."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""

    def script(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests.clear()


@contextmanager
def model() -> Iterator[Model]:
    api = Model()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.requests.append(body)
            api.keys.append(self.headers.get("Authorization", ""))
            answer = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
            time.sleep(api.delay_s)
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
            """Log nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that disconnects is no error."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chat_service(folder: Path, **settings: Any) -> Iterator[tuple[Live, Replies]]:
    """A service with both kinds of chat configured."""
    replies = Replies()
    (folder / "secret").write_text(f"{SECRET}\n")
    (folder / "users.json").write_text(json.dumps(USERS))
    slack = {"https://hooks.slack.com": httpx.MockTransport(replies.take)}
    with (
        httpx.Client(trust_env=False, mounts=slack) as client,
        live(
            folder,
            client=client,
            slack_secret_file=folder / "secret",
            chat_secret_file=folder / "secret",
            chat_users_file=folder / "users.json",
            **settings,
        ) as service,
    ):
        yield service, replies


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers of a request that Slack signs."""
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


def button(action: str, value: str, *, user: str = "U1", **more: object) -> bytes:
    payload = {
        **more,
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": user, "username": "whatever"},
        "response_url": HOOK,
        "trigger_id": str(next(_COUNT)),
        "actions": [{"action_id": action, "value": value}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def say(service: Live, text: str, **user: str) -> str:
    """Send a slash command; return the text of the reply."""
    body = command(text, **user)
    answer = service.call("POST", "/chat/slack/commands", headers=signed(body), content=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    return str(answer.json()["text"])


def text_answer(content: str) -> bytes:
    """An answer as recorded from such an API."""
    return _completion({"role": "assistant", "content": content, "refusal": None}, "stop")


def tool_calls(*calls: tuple[str, object]) -> bytes:
    """An answer that calls tools."""
    requests = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            },
        }
        for number, (name, arguments) in enumerate(calls)
    ]
    return _completion({"role": "assistant", "content": None, "tool_calls": requests}, "tool_calls")


def _completion(message: Mapping[str, Any], finish: str) -> bytes:
    completion = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4.1-2025-04-14",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000},
        "service_tier": "default",
        "system_fingerprint": "fp_6b68a8204b",
    }
    return json.dumps(completion).encode()
