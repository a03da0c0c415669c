"""What Alertmanager leaves out of a delivery is fetched from its API, and becomes runs."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from receiver.db.database import database
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import parse_envelope
from receiver.webhook.truncated import Truncated

LABELS = {"alertname": "HighCPU", "asg": 'web "blue"'}
DELIVERY = b"""{"version": "4", "alerts": [], "truncatedAlerts": 2, "receiver": "smartcloudops",
 "groupLabels": {"alertname": "HighCPU", "asg": "web \\"blue\\"", "bad name": "x", "odd": 7}}"""


def active(number: int) -> dict[str, Any]:
    """An alert as the API gives it."""
    return {
        "labels": LABELS | {"instance_id": f"i-{number:017x}"},
        "annotations": {},
        "startsAt": "2026-11-23T06:39:31.435Z",
        "endsAt": "2027-11-23T06:43:31.435Z",
        "fingerprint": f"{number:016x}",
        "receivers": [{"name": "smartcloudops"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
    }


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(database(f"sqlite:///{tmp_path}/inbox.db"), 360, lambda: None)
    inbox.database.migrate("inbox")
    inbox.start()
    yield inbox
    inbox.stop()


def fetched(inbox: Inbox, answer: Callable[[httpx.Request], httpx.Response]) -> dict[str, float]:
    """What the metrics count once the fetching is over."""
    registry = CollectorRegistry()
    metrics = WebhookMetrics(registry)
    http = httpx.Client(transport=httpx.MockTransport(answer))
    rest = Truncated("http://alertmanager/", http, inbox.submit, metrics)
    for _ in range(3):
        rest.fetch(parse_envelope(DELIVERY))
    counted = _ended(registry)
    rest.close()
    return counted


def _ended(registry: CollectorRegistry) -> dict[str, float]:
    """What the metrics count once a fetch has ended."""
    until = time.monotonic() + 20
    while True:
        counted = {
            outcome: registry.get_sample_value(
                "smartcloudops_truncated_groups_total", {"outcome": outcome}
            )
            or 0.0
            for outcome in ("fetched", "lost")
        }
        if any(counted.values()):
            return counted
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_rest_of_a_group_is_stored(inbox: Inbox) -> None:
    """It is requests for by the group's labels, quoted, and once however many deliveries say so."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        time.sleep(0.1)
        return httpx.Response(200, json=[active(1), active(2), "no alert"])

    assert fetched(inbox, answer) == {"fetched": 1, "lost": 0}
    assert len(requests) == 1
    query = requests[0].url.params
    assert query.get_list("filter") == ['alertname="HighCPU"', r'asg="web \"blue\""']
    assert query["receiver"] == "^(?:smartcloudops)$"
    waiting = inbox.queued()
    assert [queued.alert.fingerprint for queued in waiting] == [f"{1:016x}", f"{2:016x}"]
    assert all(queued.alert.firing and queued.alert.ends_at is None for queued in waiting)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="no"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"a": 1}),
        httpx.Response(200, text="[" * 100_000),
    ],
)
def test_what_cannot_be_fetched_is_counted_as_lost(inbox: Inbox, answer: httpx.Response) -> None:
    """Three tries; the next delivery of the group tries again."""
    tries = []

    def refuse(_: httpx.Request) -> httpx.Response:
        tries.append(1)
        return httpx.Response(answer.status_code, content=answer.content)

    assert fetched(inbox, refuse) == {"fetched": 0, "lost": 1}
    assert len(tries) == 3
    assert inbox.queued() == []


def test_an_alertmanager_that_comes_back_is_asked_again(inbox: Inbox) -> None:
    tries = []

    def late(_: httpx.Request) -> httpx.Response:
        tries.append(1)
        if len(tries) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=[active(1)])

    assert fetched(inbox, late) == {"fetched": 1, "lost": 0}
    assert len(inbox.queued()) == 1


def test_a_stop_ends_the_tries(inbox: Inbox) -> None:
    """The end of the process waits for the fetch, which must not wait for its next try."""
    registry = CollectorRegistry()
    tries = []

    def refuse(_: httpx.Request) -> httpx.Response:
        tries.append(1)
        rest.close()
        return httpx.Response(500)

    http = httpx.Client(transport=httpx.MockTransport(refuse))
    rest = Truncated("http://alertmanager/", http, inbox.submit, WebhookMetrics(registry))
    rest.fetch(parse_envelope(DELIVERY))
    assert _ended(registry) == {"fetched": 0, "lost": 1}
    assert len(tries) == 1
