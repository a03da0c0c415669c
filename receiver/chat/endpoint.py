"""Endpoints of the chats; a request is signed, and its user is in the chat users file."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from receiver.chat import slack
from receiver.chat.commands import ChatRequest, Reply
from receiver.chat.slack import ChatMessage, FormError
from receiver.chat.users import ChatUser
from receiver.chat.wiring import Chat
from receiver.http.access.auth import ROLE, SIGNATURE
from receiver.http.access.signatures import SecretFileError, SignatureError, Signatures
from receiver.http.openapi import answers
from receiver.http.problems import documented

_log = structlog.get_logger()
router = APIRouter(prefix="/chat", tags=["chat"])
_UNKNOWN_USER = "Unknown user: an admin must add {key} to the file of chat users."


class WebhookCommand(BaseModel):
    """A command from a chat other than Slack."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    text: Annotated[str, StringConstraints(max_length=3000)]


class WebhookReply(BaseModel):
    text: str


class SlackMessage(BaseModel):
    """Slack's message; empty where the reply goes to the response URL."""

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
        "content": {"application/json": {"schema": WebhookCommand.model_json_schema()}},
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
_SLACK = answers(SlackMessage, "The message that Slack shows.") | _ERRORS
_TEXT = answers(WebhookReply, "The text to show.") | _ERRORS


@router.post(
    "/slack/commands", response_model=None, openapi_extra=_SIGNED | _FORM, responses=_SLACK
)
async def command(request: Request) -> dict[str, Any]:
    """A slash command of Slack, such as `/ops status`."""
    chat = _chat(request)
    body = await _verified_body(
        request, chat.slack, "X-Slack-Request-Timestamp", "X-Slack-Signature"
    )
    message = _parse(slack.parse_command, body)
    user = chat.find_user(message.user)
    if user is None:
        return slack.render_reply(Reply(_UNKNOWN_USER.format(key=message.user)))
    command = _chat_request(request, user, message.user, message.text)
    is_question = message.text.strip().lower().startswith("ask ")
    if is_question and chat.commands.ask is not None and message.response_url is not None:
        # Slack waits three seconds for a response, and a model takes longer.
        chat.in_background(
            message.response_url, lambda: slack.render_reply(chat.commands.handle(command))
        )
        return slack.render_reply(Reply("Looking into it ..."))
    return slack.render_reply(await asyncio.to_thread(chat.commands.handle, command))


@router.post("/slack/actions", response_model=None, openapi_extra=_SIGNED | _FORM, responses=_SLACK)
async def action(request: Request) -> dict[str, Any]:
    """A pressed button of Slack, which approves or denies the plan that its message showed."""
    chat = _chat(request)
    body = await _verified_body(
        request, chat.slack, "X-Slack-Request-Timestamp", "X-Slack-Signature"
    )
    message = _parse(slack.parse_button, body)
    user = chat.find_user(message.user)
    reply = Reply(_UNKNOWN_USER.format(key=message.user))
    if user is not None:
        press = _chat_request(request, user, message.user, "")
        reply = await asyncio.to_thread(_handle_button, chat, press, message)
    if message.response_url is not None:
        replace = not message.shared
        chat.in_background(message.response_url, lambda: slack.render_reply(reply, replace=replace))
    return {}


@router.post("/webhook", response_model=None, openapi_extra=_SIGNED | _JSON, responses=_TEXT)
async def webhook(request: Request) -> dict[str, str]:
    """The same commands from any other chat, as JSON, with Slack's signature scheme."""
    chat = _chat(request)
    names = ("X-SmartCloudOps-Timestamp", "X-SmartCloudOps-Signature")
    body = await _verified_body(request, chat.webhook, *names)
    try:
        command = WebhookCommand.model_validate_json(body)
    except ValidationError:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "the fields user and text are required"
        ) from None
    key = f"webhook:{command.user}"
    user = chat.find_user(key)
    if user is None:
        return {"text": _UNKNOWN_USER.format(key=key)}
    reply = await asyncio.to_thread(
        chat.commands.handle, _chat_request(request, user, key, command.text)
    )
    return {"text": reply.text}


def _chat(request: Request) -> Chat:
    chat: Chat | None = request.app.state.chat
    if chat is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no chat is configured")
    return chat


async def _verified_body(
    request: Request, signatures: Signatures | None, timestamp: str, signature: str
) -> bytes:
    """The body of a request with a valid, recent and unused signature."""
    if signatures is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no signing secret is configured for this chat")
    body = await request.body()
    headers = request.headers.get(timestamp, ""), request.headers.get(signature, "")
    try:
        await asyncio.to_thread(signatures.check, *headers, body)
    except SignatureError as error:
        _log.warning("chat_request_refused", reason=str(error))
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED, "the signature is invalid, expired or already used"
        ) from None
    except SecretFileError as error:
        _log.error("chat_secret_read_failed", reason=str(error))
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE, "the signing secret cannot be read"
        ) from None
    return body


def _parse(parse: Callable[[bytes], ChatMessage], body: bytes) -> ChatMessage:
    try:
        return parse(body)
    except FormError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None


def _chat_request(request: Request, user: ChatUser, key: str, text: str) -> ChatRequest:
    return ChatRequest(user=user, text=text, address=key, request_id=request.state.request_id)


def _handle_button(chat: Chat, request: ChatRequest, message: ChatMessage) -> Reply:
    return chat.commands.handle_approval(
        request,
        approve=bool(message.approve),
        run_id=message.run_id,
        digest=message.digest,
    )
