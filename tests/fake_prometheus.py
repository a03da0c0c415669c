"""A Prometheus at the HTTP edge."""

import time
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import parse_qs

import httpx

from bench.load.traffic import sample_times


def client(
    answer: Callable[[httpx.Request], httpx.Response], clock: Callable[[], float] = time.time
) -> httpx.Client:
    """A client whose server answers so, has no records, and sends its time as every server does."""

    def dated(request: httpx.Request) -> httpx.Response:
        records = request.url.path.endswith("/rules") and request.url.params["type"] == "record"
        response = _no_records() if records else answer(request)
        response.headers.setdefault("Date", formatdate(clock(), usegmt=True))
        return response

    return httpx.Client(transport=httpx.MockTransport(dated))


def _no_records() -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": {"groups": []}})


def freshness(request: httpx.Request, newest: float, every_s: float = 5.0) -> httpx.Response | None:
    """The answer to a question about samples' own times, if it is one: new ones, that often."""
    query = parse_qs(request.content.decode()).get("query", [""])[0]
    result = sample_times(query, newest, every_s)
    data = {"resultType": "vector", "result": result}
    return httpx.Response(200, json={"status": "success", "data": data}) if result else None
