"""One message of Slack for each incident, changed as it goes on, with a thread for details.

https://docs.slack.dev/reference/methods/chat.postMessage,
https://docs.slack.dev/reference/methods/chat.update; a rate limit is 429 with `Retry-After`
(https://docs.slack.dev/apis/web-api/rate-limits).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from receiver.incidents.channel import TIMEOUT_S, ChannelError, call
from receiver.incidents.records import Line, Post
from receiver.incidents.view import IncidentView

_TEXT_MOST, _CONFIRM_MOST = 2900, 300
# What was posted cannot be changed any more: it is posted anew.
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
# Slack may have posted the message, or not.
_UNSURE = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})


@dataclass(frozen=True, kw_only=True)
class Slack:
    """`token` reads the bot's token for each call, which needs `chat:write`."""

    client: httpx.Client
    url: str
    token: Callable[[], str]
    channel: str
    name: str = "slack"
    threads: bool = True

    def wants(self, view: IncidentView, post: Post | None) -> bool:
        del view, post
        return True

    def show(self, view: IncidentView, post: Post) -> str:
        """The name is `CHANNEL:TS`: Slack changes a message only by the channel's own id."""
        channel, _, ts = post.ref.partition(":")
        message = {"text": _escaped(view.title), "blocks": _blocks(view)}
        if ts:
            self._call("chat.update", {"channel": channel, "ts": ts, **message})
            return post.ref
        answer = self._call("chat.postMessage", {"channel": self.channel, **message})
        return f"{answer.get('channel', self.channel)}:{answer.get('ts', '')}"

    def add_line(self, view: IncidentView, post: Post, line: Line) -> None:
        del view
        channel, _, ts = post.ref.partition(":")
        text = f"{datetime.fromtimestamp(line.at, UTC):%H:%M:%S} UTC  {line.text}"
        detail = {"channel": channel, "thread_ts": ts, "text": _escaped(text)[:_TEXT_MOST]}
        self._call("chat.postMessage", detail)

    def _call(self, method: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self.token()}"}
        request = self.client.build_request(
            "POST", f"{self.url}/{method}", json=body, headers=headers, timeout=TIMEOUT_S
        )
        answer = call(self.client, request)
        if answer.get("ok") is not True:
            error = str(answer.get("error", "no answer"))
            known = error if error.isascii() and error.replace("_", "").isalnum() else "an error"
            unsure = error in _UNSURE or "error" not in answer
            raise ChannelError(f"answered {known[:40]}", sent=unsure, gone=error in _GONE)
        return answer


def _blocks(view: IncidentView) -> list[dict[str, Any]]:
    text = "\n".join([f"*{_escaped(view.title)}*", *map(_escaped, view.lines())])
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text[:_TEXT_MOST]}}]
    if view.plan is None:
        return blocks
    buttons = [_button(view, "approve", "primary"), _button(view, "deny", "danger")]
    return [*blocks, {"type": "actions", "elements": buttons}]


def _button(view: IncidentView, action: str, style: str) -> dict[str, Any]:
    """As the chat's own (`receiver.chat.slack`), which takes the press."""
    words = {"type": "plain_text", "text": action.capitalize()}
    return {
        "type": "button",
        "action_id": action,
        "style": style,
        "text": words,
        "value": f"{view.run}:{view.plan}",
        "confirm": {
            "title": {"type": "plain_text", "text": f"{action.capitalize()}?"},
            "text": {"type": "plain_text", "text": view.next[:_CONFIRM_MOST]},
            "confirm": words,
            "deny": {"type": "plain_text", "text": "Back"},
        },
    }


def _escaped(text: str) -> str:
    """Escape text as Slack documents, so that it becomes no markup, mention or link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
