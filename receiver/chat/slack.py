"""Slack's forms, buttons and messages.

https://docs.slack.dev/interactivity/implementing-slash-commands,
https://docs.slack.dev/interactivity/handling-user-interaction
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from receiver.chat.commands import Reply
from receiver.runs.model import Run
from receiver.runs.question import question_of

# Delayed replies go to this host alone, because a form could name any URL.
RESPONSE_URLS = "https://hooks.slack.com/"
_TEXT_CHARS_MOST, _BLOCK_CHARS_MOST = 3500, 2900
_FIELDS_MOST = 50
# https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
_CONFIRM_CHARS = 300


class FormError(Exception):
    """The request body is not one of Slack's forms."""


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """A command or a pressed button; `user` is `slack:TEAM/USER`.

    Delayed replies go to `response_url`. A `shared` message is everybody's, and stays as it is.
    """

    user: str
    text: str = ""
    response_url: str | None = None
    approve: bool | None = None
    run_id: str = ""
    digest: str = ""
    shared: bool = False


def parse_command(body: bytes) -> ChatMessage:
    """A slash command. Raises FormError."""
    form = _form(body)
    return ChatMessage(
        user=_user(form.get("team_id"), form.get("user_id")),
        text=form.get("text", ""),
        response_url=_response_url(form.get("response_url")),
    )


def parse_button(body: bytes) -> ChatMessage:
    """A pressed button. Raises FormError."""
    try:
        payload = json.loads(_form(body)["payload"])
        if payload["type"] != "block_actions":
            raise FormError("not a button")
        action, user = payload["actions"][0], payload["user"]
        run_id, _, digest = action["value"].partition(":")
        return ChatMessage(
            user=_user((payload.get("team") or {}).get("id"), user["id"]),
            response_url=_response_url(payload.get("response_url")),
            approve={"approve": True, "deny": False}[action["action_id"]],
            run_id=run_id,
            digest=digest,
            shared=(payload.get("container") or {}).get("is_ephemeral") is False,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FormError("not a button of this service") from error


def render_reply(reply: Reply, *, replace: bool = False) -> dict[str, Any]:
    """A message for the sender of the command alone, with buttons to approve or deny."""
    text = _escaped(reply.text)[:_TEXT_CHARS_MOST]
    blocks: list[dict[str, Any]] = [_section(text)]
    for run in reply.awaiting:
        # The plan that the buttons approve, so that nobody approves a bare number.
        blocks.append(_section(f"{_escaped(question_of(run) or '')}\n`{run.id}`"))
        blocks.append(
            {"type": "actions", "elements": [_button(run, "approve"), _button(run, "deny")]}
        )
    message = {"response_type": "ephemeral", "text": text, "blocks": blocks}
    return message | ({"replace_original": True} if replace else {})


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_BLOCK_CHARS_MOST] or " "}}


def _button(run: Run, action: str) -> dict[str, Any]:
    digest = run.plan.digest if run.plan else ""
    return {
        "type": "button",
        "action_id": action,
        "style": "primary" if action == "approve" else "danger",
        "text": {"type": "plain_text", "text": action.capitalize()},
        "value": f"{run.id}:{digest}",
        "confirm": {
            "title": {"type": "plain_text", "text": f"{action.capitalize()}?"},
            "text": {"type": "plain_text", "text": (question_of(run) or run.id)[:_CONFIRM_CHARS]},
            "confirm": {"type": "plain_text", "text": action.capitalize()},
            "deny": {"type": "plain_text", "text": "Back"},
        },
    }


def _escaped(text: str) -> str:
    """Escape text as Slack documents, so that it becomes no markup, mention or link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _form(body: bytes) -> Mapping[str, str]:
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=_FIELDS_MOST)
    except ValueError as error:
        raise FormError("not a form") from error
    return {name: values[0] for name, values in fields.items()}


def _user(team: str | None, user: str | None) -> str:
    if not isinstance(team, str) or not isinstance(user, str) or not team or not user:
        raise FormError("the form names no user")
    return f"slack:{team}/{user}"


def _response_url(url: object) -> str | None:
    return url if isinstance(url, str) and url.startswith(RESPONSE_URLS) else None
