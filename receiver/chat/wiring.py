"""The chat's parts put together, as far as the settings name them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog

from receiver.chat import users as chat_users
from receiver.chat.assistant import Ask
from receiver.chat.commands import ChatOps
from receiver.chat.llm_client import CompletionError, Completions
from receiver.chat.users import ChatUser, ChatUsersError
from receiver.http.signatures import SecretFileError, Signatures, secret_of
from receiver.runtime.redaction import Redaction
from receiver.settings import Settings
from receiver.system import System

_log = structlog.get_logger()
_LATER_TIMEOUT_S = 10.0
_LATER_AT_ONCE = 4


class ChatError(Exception):
    """The chat cannot be had as the settings say; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """`slack` and `webhook` believe signed requests; None where that way is switched off."""

    ops: ChatOps
    users: Path
    slack: Signatures | None
    webhook: Signatures | None
    client: httpx.Client
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_LATER_AT_ONCE, "chat")
    )

    def user(self, key: str) -> ChatUser | None:
        """Who that is to us; the file is read for each, so that a change counts at once."""
        try:
            return chat_users.load(self.users).get(key)
        except ChatUsersError as error:
            _log.error("chat_users_unreadable", why=str(error))
            return None

    def later(self, url: str, work: Callable[[], dict[str, Any]]) -> None:
        """Say to a chat what `work` gives, once it is done."""
        self.pool.submit(self._said, url, work)

    def _said(self, url: str, work: Callable[[], dict[str, Any]]) -> None:
        try:
            said = work()
            # Whatever it answers is not read.
            with self.client.stream(
                "POST", url, json=said, timeout=_LATER_TIMEOUT_S, follow_redirects=False
            ) as answer:
                pass
        except Exception as error:  # noqa: BLE001 nobody waits for it; the log must have it
            _log.error("chat_answer_lost", error=type(error).__name__)
            return
        if not answer.is_success:
            _log.error("chat_answer_lost", status=answer.status_code)


def chat(settings: Settings, system: System, client: httpx.Client) -> Chat | None:
    """The chat, or None where no way to it is named. Raises ChatError."""
    slack, webhook = settings.slack_secret_file, settings.chat_secret_file
    if slack is None and webhook is None:
        return None
    if settings.chat_users_file is None:
        raise ChatError("SMARTCLOUDOPS_CHAT_USERS_FILE must say who somebody in the chat is")
    try:
        chat_users.load(settings.chat_users_file)
        known = [secret_of(file) for file in (slack, webhook, settings.ask_key_file) if file]
    except (ChatUsersError, SecretFileError) as error:
        raise ChatError(str(error)) from None

    def signed(file: Path | None) -> Signatures | None:
        if file is None:
            return None
        return Signatures(file=file, database=system.database, clock=system.clock)

    return Chat(
        ops=ChatOps(system=system, ask=_ask(settings, system, client, Redaction(known))),
        users=settings.chat_users_file,
        slack=signed(slack),
        webhook=signed(webhook),
        client=client,
    )


def _ask(settings: Settings, system: System, client: httpx.Client, redact: Redaction) -> Ask | None:
    if settings.ask_url is None:
        return None
    file = settings.ask_key_file

    def key() -> str | None:
        try:
            return secret_of(file) if file else None
        except SecretFileError:
            raise CompletionError("its key cannot be read") from None

    model = Completions(
        url=str(settings.ask_url),
        model=settings.ask_model,
        key=key,
        client=client,
    )
    url = settings.public_url
    return Ask(
        system=system,
        model=model,
        redact=redact,
        timeout_s=settings.ask_timeout_s,
        tokens_per_day=settings.ask_tokens_per_day,
        clock=system.clock,
        public_url=None if url is None else str(url),
    )
