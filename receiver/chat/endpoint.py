"""What comes from a chat: signed, from somebody that we know, answered in the chat's own form."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from receiver.chat import commands, slack
from receiver.chat.commands import Reply
from receiver.chat.slack import FormError, Said
from receiver.chat.users import ChatUser
from receiver.chat.wiring import Chat
from receiver.http.auth import ROLE
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.http.signatures import SecretFileError, SignatureError, Signatures

_log = structlog.get_logger()
router = APIRouter(prefix="/chat", tags=["chat"])
SIGNATURE = "signature"
_STRANGER = "I do not know you: an admin must add {key} to the chat users."


class Verb(BaseModel):
    """What a chat of any other kind sends: who says what."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    text: Annotated[str, StringConstraints(max_length=3000)]


class Answered(BaseModel):
    text: str


class SlackMessage(BaseModel):
    """As Slack has it; empty where the answer comes later."""

    model_config = ConfigDict(extra="allow")


_SIGNED: dict[str, Any] = {ROLE: SIGNATURE, "security": [{"signature": []}]}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
    }
}
_JSON: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Verb.model_json_schema()}},
    }
}
_ERRORS = documented(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_SLACK = answers(SlackMessage, "What Slack shows.") | _ERRORS
_TEXT = answers(Answered, "What to show.") | _ERRORS


@router.post(
    "/slack/commands", response_model=None, openapi_extra=_SIGNED | _FORM, responses=_SLACK
)
async def command(request: Request) -> dict[str, Any]:
    """A slash command of Slack, such as `/ops status`."""
    chat = _chat(request)
    body = await _believed(request, chat.slack, "X-Slack-Request-Timestamp", "X-Slack-Signature")
    said = _read(slack.command, body)
    user = chat.user(said.user)
    if user is None:
        return slack.message(Reply(_STRANGER.format(key=said.user)))
    asked = _request(request, user, said.user, said.text)
    asks = chat.ops.ask is not None and said.text.strip().lower().startswith("ask ")
    if asks and said.later is not None:
        # Slack waits three seconds, and a model takes longer.
        chat.later(said.later, lambda: slack.message(chat.ops.answer(asked)))
        return slack.message(Reply("Looking into it ..."))
    return slack.message(await asyncio.to_thread(chat.ops.answer, asked))


@router.post("/slack/actions", response_model=None, openapi_extra=_SIGNED | _FORM, responses=_SLACK)
async def action(request: Request) -> dict[str, Any]:
    """A button that was pressed in Slack: it approves or denies the plan that it was shown with."""
    chat = _chat(request)
    body = await _believed(request, chat.slack, "X-Slack-Request-Timestamp", "X-Slack-Signature")
    said = _read(slack.button, body)
    user = chat.user(said.user)
    reply = Reply(_STRANGER.format(key=said.user))
    if user is not None:
        asked = _request(request, user, said.user, "")
        reply = await asyncio.to_thread(_pressed, chat, asked, said)
    if said.later is not None:
        chat.later(said.later, lambda: slack.message(reply, replacing=True))
    return {}


@router.post("/webhook", response_model=None, openapi_extra=_SIGNED | _JSON, responses=_TEXT)
async def webhook(request: Request) -> dict[str, str]:
    """The same verbs from any other chat, as JSON, signed as Slack signs."""
    chat = _chat(request)
    names = ("X-SmartCloudOps-Timestamp", "X-SmartCloudOps-Signature")
    body = await _believed(request, chat.webhook, *names)
    try:
        verb = Verb.model_validate_json(body)
    except ValidationError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "user and text are needed") from None
    key = f"webhook:{verb.user}"
    user = chat.user(key)
    if user is None:
        return {"text": _STRANGER.format(key=key)}
    reply = await asyncio.to_thread(chat.ops.answer, _request(request, user, key, verb.text))
    return {"text": reply.text}


def _chat(request: Request) -> Chat:
    chat: Chat | None = request.app.state.chat
    if chat is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the chat is switched off")
    return chat


async def _believed(
    request: Request, signatures: Signatures | None, timestamp: str, signature: str
) -> bytes:
    """The body of a request that was signed just now, and not taken before."""
    if signatures is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "this chat is switched off")
    body = await request.body()
    given = request.headers.get(timestamp, ""), request.headers.get(signature, "")
    try:
        await asyncio.to_thread(signatures.check, *given, body)
    except SignatureError as error:
        _log.warning("chat_refused", why=str(error))
        raise HTTPException(HTTPStatus.UNAUTHORIZED, "the signature does not hold") from None
    except SecretFileError as error:
        _log.error("chat_secret_unreadable", why=str(error))
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the secret is out of reach") from None
    return body


def _read(form: Any, body: bytes) -> Said:
    try:
        said: Said = form(body)
    except FormError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
    return said


def _request(request: Request, user: ChatUser, key: str, text: str) -> commands.Request:
    return commands.Request(user=user, text=text, address=key, request_id=request.state.request_id)


def _pressed(chat: Chat, asked: commands.Request, said: Said) -> Reply:
    return chat.ops.decide_on(
        asked, approve=bool(said.approve), run_id=said.run_id, digest=said.digest
    )
