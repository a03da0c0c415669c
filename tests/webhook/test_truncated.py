"""What Alertmanager leaves out of a delivery is fetched from its API, and becomes runs."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from receiver.db.database import database
from receiver.monitoring.alertmanager import Alertmanager
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.payload import parse_envelope
from receiver.webhook.truncated import Truncated

LABELS = {"alertname": "HighCPU", "asg": 'web "blue"'}
DELIVERY = b"""{"version": "4", "alerts": [], "truncatedAlerts": 2, "receiver": "smartcloudops",
 "groupLabels": {"alertname": "HighCPU", "asg": "web \\"blue\\"", "odd": 7}}"""


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


def fetched(
    inbox: Inbox,
    answer: Callable[[httpx.Request], httpx.Response],
    delivery: bytes = DELIVERY,
    *,
    fires: bool = True,
) -> dict[str, float]:
    """What the metrics count once the fetching is over."""
    registry = CollectorRegistry()
    metrics = WebhookMetrics(registry)
    rest = Truncated(_alertmanager(answer), inbox.submit, metrics)
    for _ in range(3):
        rest.fetch(parse_envelope(delivery), fires=fires)
    counted = _ended(registry)
    rest.close()
    return counted


def _alertmanager(answer: Callable[[httpx.Request], httpx.Response]) -> Alertmanager:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    return Alertmanager("http://alertmanager/", http)


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
    """Requested once however many deliveries say so; no label is in the request."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        time.sleep(0.1)
        return httpx.Response(200, json=[active(1), active(2), "no alert"])

    assert fetched(inbox, answer) == {"fetched": 1, "lost": 0}
    assert len(requests) == 1
    assert set(requests[0].url.params) == {"active", "silenced", "inhibited", "unprocessed"}
    waiting = inbox.queued()
    assert [queued.alert.fingerprint for queued in waiting] == [f"{1:016x}", f"{2:016x}"]
    assert all(queued.alert.firing and queued.alert.ends_at is None for queued in waiting)


@pytest.mark.parametrize(
    ("sent", "name"), [("web.hook", "web.hook"), (r"web\.hook", "web.hook"), (r"a/b\+c", "a/b+c")]
)
def test_the_group_is_found_by_whatever_name(inbox: Inbox, sent: str, name: str) -> None:
    """Alertmanager quotes the receiver's name as a regular expression; others get theirs only."""
    delivery = json.dumps(
        {
            "version": "4",
            "alerts": [],
            "receiver": sent,
            "truncatedAlerts": 1,
            "groupLabels": {"alertname": "HighCPU"},
        }
    )
    listed = [active(1), active(2), active(3)]
    listed[0]["receivers"] = [{"name": "other"}, {"name": name}]
    listed[2]["receivers"] = [{"name": name}]
    listed[2]["labels"] = {"alertname": "Other"}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=listed)

    assert fetched(inbox, answer, delivery.encode()) == {"fetched": 1, "lost": 0}
    assert [queued.alert.fingerprint for queued in inbox.queued()] == [f"{1:016x}"]


@pytest.mark.parametrize(("fires", "outcome"), [(True, "lost"), (False, "fetched")])
def test_nothing_found_is_an_error_while_the_group_fires(
    inbox: Inbox, *, fires: bool, outcome: str
) -> None:
    """The delivered alerts are of the same group, so that a right search finds those at least."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[active(1) | {"receivers": [{"name": "other"}]}])

    counted = fetched(inbox, answer, fires=fires)
    assert counted == {"fetched": 0, "lost": 0} | {outcome: 1}


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

    rest = Truncated(_alertmanager(refuse), inbox.submit, WebhookMetrics(registry))
    rest.fetch(parse_envelope(DELIVERY), fires=True)
    assert _ended(registry) == {"fetched": 0, "lost": 1}
    assert len(tries) == 1
