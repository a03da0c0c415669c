"""Builds the chats that the settings configure."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog

from receiver.chat.assistant import Assistant
from receiver.chat.commands import ChatCommands
from receiver.chat.llm_client import LlmClient, LlmError
from receiver.chat.parts import Parts
from receiver.chat.users import ChatUser, ChatUsersError, load_users
from receiver.http.access.signatures import SecretFileError, Signatures, read_secret
from receiver.runtime.redaction import Redaction
from receiver.settings import Settings

_log = structlog.get_logger()
_REPLY_TIMEOUT_S = 10.0
_REPLY_THREADS = 4


class ChatError(Exception):
    """The settings of the chat are unusable; the message gives the reason."""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """The chats; `slack` and `webhook` check signatures, None if that chat is not configured."""

    commands: ChatCommands
    users: Path
    slack: Signatures | None
    webhook: Signatures | None
    client: httpx.Client
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_REPLY_THREADS, "chat")
    )

    def find_user(self, key: str) -> ChatUser | None:
        """The user with this key. The file is read each time, so that changes apply at once."""
        try:
            return load_users(self.users).get(key)
        except ChatUsersError as error:
            _log.error("chat_users_read_failed", reason=str(error))
            return None

    def in_background(self, url: str, work: Callable[[], dict[str, Any]]) -> None:
        """Run `work` in another thread, and post the message that it returns."""
        self.pool.submit(self._post, url, work)

    def _post(self, url: str, work: Callable[[], dict[str, Any]]) -> None:
        try:
            message = work()
            # The response body is not read, because its size is unbounded.
            with self.client.stream(
                "POST", url, json=message, timeout=_REPLY_TIMEOUT_S, follow_redirects=False
            ) as response:
                pass
        except Exception as error:  # noqa: BLE001 an error in a pool is lost unless it is logged
            _log.error("chat_reply_failed", error=type(error).__name__)
            return
        if not response.is_success:
            _log.error("chat_reply_failed", status=response.status_code)


def make_chat(settings: Settings, parts: Parts, client: httpx.Client) -> Chat | None:
    """Build the chats, or None where none is configured. Raises ChatError."""
    slack, webhook = settings.slack_secret_file, settings.chat_secret_file
    if slack is None and webhook is None:
        return None
    if settings.chat_users_file is None:
        raise ChatError(
            "SMARTCLOUDOPS_CHAT_USERS_FILE must name the file of chat users and their roles"
        )
    try:
        load_users(settings.chat_users_file)
        secrets = [read_secret(file) for file in (slack, webhook, settings.ask_key_file) if file]
    except (ChatUsersError, SecretFileError) as error:
        raise ChatError(str(error)) from None

    def signatures(file: Path | None) -> Signatures | None:
        if file is None:
            return None
        return Signatures(file=file, database=parts.database, clock=parts.clock)

    return Chat(
        commands=ChatCommands(
            parts=parts, ask=_make_assistant(settings, parts, client, Redaction(secrets))
        ),
        users=settings.chat_users_file,
        slack=signatures(slack),
        webhook=signatures(webhook),
        client=client,
    )


def _make_assistant(
    settings: Settings, parts: Parts, client: httpx.Client, redact: Redaction
) -> Assistant | None:
    if settings.ask_url is None:
        return None
    file = settings.ask_key_file

    def key() -> str | None:
        try:
            return read_secret(file) if file else None
        except SecretFileError:
            raise LlmError("SMARTCLOUDOPS_ASK_KEY_FILE cannot be read") from None

    model = LlmClient(
        url=str(settings.ask_url),
        model=settings.ask_model,
        key=key,
        client=client,
    )
    url = settings.public_url
    return Assistant(
        parts=parts,
        model=model,
        redact=redact,
        timeout_s=settings.ask_timeout_s,
        tokens_per_day=settings.ask_tokens_per_day,
        clock=parts.clock,
        public_url=None if url is None else str(url),
    )
