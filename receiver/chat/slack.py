"""Slack's side of the chat: its forms, its buttons and its answers.

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

# Where Slack takes later answers; anything else would have us call wherever somebody likes.
HOOKS = "https://hooks.slack.com/"
_TEXT_MOST, _BLOCK_MOST = 3500, 2900
_FIELDS_MOST = 50


class FormError(Exception):
    """Not what Slack sends."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A command or a button. `user` is `slack:TEAM/USER`; `later` is where more may be said."""

    user: str
    text: str = ""
    later: str | None = None
    approve: bool | None = None
    run_id: str = ""
    digest: str = ""


def command(body: bytes) -> Said:
    """A slash command. Raises FormError."""
    form = _form(body)
    return Said(
        user=_user(form.get("team_id"), form.get("user_id")),
        text=form.get("text", ""),
        later=_later(form.get("response_url")),
    )


def button(body: bytes) -> Said:
    """A button that was pressed. Raises FormError."""
    try:
        payload = json.loads(_form(body)["payload"])
        if payload["type"] != "block_actions":
            raise FormError("not a button")
        action, user = payload["actions"][0], payload["user"]
        run_id, _, digest = action["value"].partition(":")
        return Said(
            user=_user((payload.get("team") or {}).get("id"), user["id"]),
            later=_later(payload.get("response_url")),
            approve={"approve": True, "deny": False}[action["action_id"]],
            run_id=run_id,
            digest=digest,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FormError("not a button of ours") from error


def message(reply: Reply, *, replacing: bool = False) -> dict[str, Any]:
    """For the one who asked alone, with buttons for what waits."""
    text = _escaped(reply.text)[:_TEXT_MOST]
    blocks: list[dict[str, Any]] = [_section(text)]
    for run in reply.waiting:
        blocks.append(_section(f"`{run.id}`"))
        blocks.append(
            {"type": "actions", "elements": [_button(run, "approve"), _button(run, "deny")]}
        )
    said = {"response_type": "ephemeral", "text": text, "blocks": blocks}
    return said | ({"replace_original": True} if replacing else {})


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_BLOCK_MOST] or " "}}


def _button(run: Run, what: str) -> dict[str, Any]:
    digest = (run.plan or {}).get("digest", "")
    return {
        "type": "button",
        "action_id": what,
        "style": "primary" if what == "approve" else "danger",
        "text": {"type": "plain_text", "text": what.capitalize()},
        "value": f"{run.id}:{digest}",
    }


def _escaped(text: str) -> str:
    """As Slack asks for it: nothing in it is markup, a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _form(body: bytes) -> Mapping[str, str]:
    try:
        found = parse_qs(body.decode(), strict_parsing=True, max_num_fields=_FIELDS_MOST)
    except ValueError as error:
        raise FormError("not a form") from error
    return {name: values[0] for name, values in found.items()}


def _user(team: str | None, user: str | None) -> str:
    if not isinstance(team, str) or not isinstance(user, str) or not team or not user:
        raise FormError("there is no user")
    return f"slack:{team}/{user}"


def _later(url: object) -> str | None:
    return url if isinstance(url, str) and url.startswith(HOOKS) else None
