"""A client for OpenAI-compatible chat completions, such as those of vLLM, Ollama and llama.cpp.

https://platform.openai.com/docs/api-reference/chat/create
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_ANSWER_BYTES_MOST = 256 * 1024
_ANSWER_TOKENS_MOST = 800
# The token count assumed for an answer that does not report one.
_BYTES_PER_TOKEN = 3


class LlmError(Exception):
    """There is no usable answer. The message gives the reason and quotes nothing of the answer."""


class Function(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field(max_length=64)
    arguments: str = Field(default="{}", max_length=4096)


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=128)
    function: Function


class AssistantMessage(BaseModel):
    """The model's text, or the tools that it calls."""

    model_config = ConfigDict(extra="ignore")

    content: str | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=8)


class _Choice(BaseModel):
    message: AssistantMessage


class _Usage(BaseModel):
    total_tokens: int = Field(ge=0)


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    message: AssistantMessage
    tokens: int


@dataclass(frozen=True, kw_only=True)
class LlmClient:
    """A client; `key` returns the API key, or None for an API without keys."""

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
        """Ask the model; `until` is in monotonic seconds. Raises LlmError."""
        body = {
            "model": self.model,
            "messages": messages,
            "tools": tools,
            "temperature": 0,
            "max_tokens": _ANSWER_TOKENS_MOST,
        }
        content = self._post(body, until)
        try:
            completion = _Completion.model_validate_json(content)
        except ValidationError:
            raise LlmError("the answer is not a chat completion") from None
        tokens = completion.usage.total_tokens if completion.usage else 0
        return Completion(
            message=completion.choices[0].message,
            tokens=max(tokens, len(content) // _BYTES_PER_TOKEN),
        )

    def _post(self, body: Mapping[str, Any], until: float) -> bytes:
        timeout_s = until - time.monotonic()
        if timeout_s <= 0:
            raise LlmError("the model did not answer in time")
        key = self.key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{self.url.rstrip('/')}/chat/completions"
        try:
            with self.client.stream(
                "POST", url, json=body, headers=headers, timeout=timeout_s, follow_redirects=False
            ) as response:
                content = _read(response, until)
        except httpx.TimeoutException:
            raise LlmError("the model did not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LlmError(f"the API cannot be reached: {type(error).__name__}") from None
        if response.status_code != httpx.codes.OK:
            raise LlmError(f"the API returned status {response.status_code}")
        return content


def _read(response: httpx.Response, until: float) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _ANSWER_BYTES_MOST:
            raise LlmError(f"the answer is larger than {_ANSWER_BYTES_MOST} bytes")
        if time.monotonic() > until:
            raise LlmError("the model did not answer in time")
    return bytes(content)
