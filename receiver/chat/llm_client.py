"""A model behind an OpenAI-compatible API, asked once: whatever it answers is data to judge.

https://platform.openai.com/docs/api-reference/chat/create, as vLLM, Ollama, llama.cpp and others
serve it, too.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_ANSWER_MOST = 256 * 1024
_TOKENS_MOST = 800
# Where the answer does not say how many tokens it took: so many bytes are about one.
_BYTES_A_TOKEN = 3


class CompletionError(Exception):
    """There is no answer that could be used; the text says why and quotes nothing of it."""


class Function(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=64)
    arguments: str = Field(default="{}", max_length=4096)


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=128)
    function: Function


class Message(BaseModel):
    """`content` is what it says, `tool_calls` what it wants to know."""

    model_config = ConfigDict(extra="ignore")

    content: str | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=8)


class _Choice(BaseModel):
    message: Message


class _Usage(BaseModel):
    total_tokens: int = Field(ge=0)


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    message: Message
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Completions:
    """`key` gives the API's key, or None where there is none."""

    url: str
    model: str
    key: Callable[[], str | None]
    client: httpx.Client

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        *,
        until: float,
    ) -> Completion:
        """`until` is in seconds of the monotonic clock. Raises CompletionError."""
        body = {
            "model": self.model,
            "messages": messages,
            "tools": tools,
            "temperature": 0,
            "max_tokens": _TOKENS_MOST,
        }
        content = self._post(body, until)
        try:
            found = _Completion.model_validate_json(content)
        except ValidationError:
            raise CompletionError("its answer is not of the form that the API has") from None
        tokens = found.usage.total_tokens if found.usage else 0
        return Completion(
            message=found.choices[0].message,
            tokens=max(tokens, len(content) // _BYTES_A_TOKEN),
        )

    def _post(self, body: Mapping[str, Any], until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise CompletionError("it took too long")
        key = self.key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{self.url.rstrip('/')}/chat/completions"
        try:
            with self.client.stream(
                "POST", url, json=body, headers=headers, timeout=left, follow_redirects=False
            ) as answer:
                content = _read(answer, until)
        except httpx.TimeoutException:
            raise CompletionError("it took too long") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CompletionError(f"it is out of reach: {type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK:
            raise CompletionError(f"it answered {answer.status_code}")
        return content


def _read(answer: httpx.Response, until: float) -> bytes:
    content = bytearray()
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > _ANSWER_MOST:
            raise CompletionError("it says too much")
        if time.monotonic() > until:
            raise CompletionError("it took too long")
    return bytes(content)
