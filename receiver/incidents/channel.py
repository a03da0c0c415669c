"""A channel shows incidents to people or machines, over HTTP."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx

from receiver.http.bounded_read import TooLargeError, TooSlowError, read_bounded
from receiver.incidents.records import Line, Post
from receiver.incidents.view import IncidentView

TIMEOUT_S, _ANSWER_MAX = 10.0, 1024 * 1024
_SERVER_ERROR = 500


class ChannelError(Exception):
    """A call failed; the text has no secret. `sent`: it may have had its effect, or have it yet.

    `retry_after_s` is what the channel asks for; `gone`: what was shown is there no more.
    """

    def __init__(
        self, text: str, *, sent: bool, retry_after_s: float = 0.0, gone: bool = False
    ) -> None:
        super().__init__(text)
        self.sent, self.retry_after_s, self.gone = sent, retry_after_s, gone


class Channel(Protocol):
    """Each method raises ChannelError. A name is in metrics, and never changes."""

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> bool: ...

    def wants(self, view: IncidentView, post: Post | None) -> bool:
        """Whether the channel shows this incident now, or must say that it is over."""
        ...

    def show(self, view: IncidentView, post: Post) -> str:
        """Show the incident as it is now. Returns the channel's name of it."""
        ...

    def add_line(self, view: IncidentView, post: Post, line: Line) -> None:
        """Add a detail to the thread; only with `threads`."""
        ...


def call(
    client: httpx.Client, request: httpx.Request, *, answers: Sequence[int] = (200,)
) -> Mapping[str, Any]:
    """The JSON object of the answer, empty without one. Raises ChannelError."""
    deadline = time.monotonic() + 2 * TIMEOUT_S
    try:
        response = client.send(request, stream=True, follow_redirects=False)
        try:
            text = read_bounded(response, max_bytes=_ANSWER_MAX, deadline=deadline)
        finally:
            response.close()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise ChannelError(type(error).__name__, sent=False) from None
    except (httpx.HTTPError, TooLargeError, TooSlowError) as error:
        raise ChannelError(type(error).__name__, sent=True) from None
    status = response.status_code
    if status not in answers:
        after = response.headers.get("Retry-After", "")
        raise ChannelError(
            f"answered {status}",
            sent=status >= _SERVER_ERROR,
            retry_after_s=float(after) if after.isdigit() else 0.0,
            gone=status in {404, 410},
        )
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
