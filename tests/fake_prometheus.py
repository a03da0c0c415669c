"""A Prometheus at the HTTP edge."""

import time
from collections.abc import Callable
from email.utils import formatdate

import httpx


def client(
    answer: Callable[[httpx.Request], httpx.Response], clock: Callable[[], float] = time.time
) -> httpx.Client:
    """A client whose server answers so, and sends its time as every server does."""

    def dated(request: httpx.Request) -> httpx.Response:
        response = answer(request)
        response.headers.setdefault("Date", formatdate(clock(), usegmt=True))
        return response

    return httpx.Client(transport=httpx.MockTransport(dated))
