"""What fires at Alertmanager and was never delivered is noticed, and becomes a run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from receiver.db.database import database
from receiver.monitoring.alertmanager import Alertmanager
from receiver.webhook.episodes import RunEnded
from receiver.webhook.inbox import Inbox
from receiver.webhook.metrics import WebhookMetrics
from receiver.webhook.missed import MissedAlerts
from receiver.webhook.payload import parse_alert, parse_envelope
from tests.conftest import Clock
from tests.webhook.test_truncated import active

_OURS = parse_envelope(b'{"version": "4", "alerts": [], "receiver": "smartcloudops"}')


@dataclass
class Missing:
    """An Alertmanager that lists `listed`, and what notices what is missing."""

    inbox: Inbox
    clock: Clock
    listed: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    status: int = 200
    muted_by: list[str] | None = field(default_factory=list)
    configuration: str = "route: {receiver: smartcloudops}"

    def __post_init__(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/status"):
                return httpx.Response(200, json={"config": {"original": self.configuration}})
            self.asked += 1
            return httpx.Response(self.status, json=[*map(self._grouped, self.listed)])

        http = httpx.Client(transport=httpx.MockTransport(answer))
        self.registry = CollectorRegistry()
        self.missed = MissedAlerts(
            alertmanager=Alertmanager("http://alertmanager", http),
            inbox=self.inbox,
            metrics=WebhookMetrics(self.registry),
            clock=self.clock,
        )

    def _grouped(self, alert: dict[str, Any]) -> dict[str, Any]:
        """A group of one, as Alertmanager lists it; before 0.28 it tells of no mute."""
        told = {} if self.muted_by is None else {"mutedBy": self.muted_by}
        status = {"state": "active", "silencedBy": [], "inhibitedBy": [], **told}
        (receiver,) = alert["receivers"]
        return {"labels": {}, "receiver": receiver, "alerts": [{**alert, "status": status}]}

    def after(self, seconds: float) -> float:
        """How many alerts were noticed as missed, that much later."""
        self.clock.now += seconds
        self.missed.run_once()
        return self.registry.get_sample_value("smartcloudops_alerts_missed_total") or 0.0

    def deliver(self, raw: dict[str, Any], **changes: Any) -> None:
        sent = {**raw, "status": "firing", "endsAt": "0001-01-01T00:00:00Z", **changes}
        alert = parse_alert(sent, self.clock.now)
        assert alert is not None
        self.inbox.submit([alert], self.clock.now).result(10)


@pytest.fixture
def missing(tmp_path: Path, clock: Clock) -> Iterator[Missing]:
    inbox = Inbox(database(f"sqlite:///{tmp_path}/inbox.db"), 360, lambda: None)
    inbox.database.migrate("inbox")
    inbox.start()
    yield Missing(inbox, clock)
    inbox.stop()


def test_an_alert_of_which_no_delivery_came_is_taken(missing: Missing) -> None:
    """After six minutes, once; Alertmanager itself may take five."""
    missing.missed.note(_OURS)
    missing.listed = [active(1), active(2)]
    missing.deliver(active(1))
    assert missing.after(0) == 0
    assert missing.after(300) == 0
    assert missing.after(60) == 1
    assert missing.after(60) == 1
    assert missing.after(600) == 1
    assert len(missing.inbox.queued()) == 2


def test_one_that_comes_late_or_ends_is_not_missed(missing: Missing) -> None:
    missing.missed.note(_OURS)
    missing.listed = [active(1), active(2)]
    missing.after(0)
    missing.deliver(active(1))
    missing.listed = [active(1)]
    assert missing.after(60) == 0
    missing.listed = [active(1), active(2)]
    assert missing.after(600) == 0


def test_alerts_of_other_receivers_are_none_of_ours(missing: Missing) -> None:
    """Nor is Alertmanager asked before one of ours has delivered."""
    missing.listed = [{**active(1), "receivers": [{"name": "pager"}]}]
    missing.after(0)
    assert missing.asked == 0
    missing.missed.note(_OURS)
    missing.after(0)
    assert missing.after(3600) == 0
    assert missing.asked == 2


def test_an_alert_that_began_anew_is_missed_again(missing: Missing) -> None:
    """What the inbox has of it is over since before it began."""
    missing.missed.note(_OURS)
    missing.deliver(active(1))
    (queued,) = missing.inbox.queued()
    missing.inbox.record_end(RunEnded(queued.id, missing.clock.now, None))
    missing.deliver(active(1), status="resolved", endsAt="2027-01-15T08:00:00Z")
    missing.listed = [active(1)]
    missing.after(0)
    assert missing.after(600) == 0
    missing.listed = [{**active(1), "startsAt": "2027-01-15T08:30:00Z"}]
    missing.after(3600)
    assert missing.after(600) == 1
    assert len(missing.inbox.queued()) == 2


_NIGHTS = "route: {receiver: smartcloudops, mute_time_intervals: [nights]}"


@pytest.mark.parametrize(
    ("muted_by", "configuration", "missed"),
    [
        ([], _NIGHTS, 1),
        (["nights"], _NIGHTS, 0),
        (None, _NIGHTS, 0),
        (None, "route: {receiver: smartcloudops}", 1),
    ],
    ids=["by day", "muted", "before 0.28", "before 0.28 without intervals"],
)
def test_what_a_time_interval_mutes_is_not_missed(
    missing: Missing, muted_by: list[str] | None, configuration: str, missed: int
) -> None:
    """Alertmanager lists it as active, and notifies nobody of it: people want it so."""
    missing.missed.note(_OURS)
    missing.listed, missing.muted_by, missing.configuration = [active(1)], muted_by, configuration
    missing.after(0)
    assert missing.after(600) == missed


@pytest.mark.parametrize("early", [True, False])
def test_what_the_samples_could_not_tell_is_looked_at_again(
    missing: Missing, *, early: bool
) -> None:
    """Once it may be, and long before Alertmanager repeats it; other refusals wait for that."""
    missing.missed.note(_OURS)
    missing.listed = [active(1)]
    missing.deliver(active(1))
    (queued,) = missing.inbox.queued()
    missing.missed.put_off = lambda ids: frozenset(ids) if early else frozenset()
    missing.inbox.record_end(RunEnded(queued.id, missing.clock.now, missing.clock.now + 60))
    missing.deliver(active(1))
    assert missing.after(59) == 0
    assert len(missing.inbox.queued()) == 1
    assert missing.after(1) == 0
    assert len(missing.inbox.queued()) == (2 if early else 1)
    missing.after(0)
    assert len(missing.inbox.queued()) == (2 if early else 1)


def test_an_alertmanager_that_does_not_answer_ends_nothing(missing: Missing) -> None:
    missing.missed.note(_OURS)
    missing.status = 500
    assert missing.after(0) == 0
    missing.status, missing.listed = 200, [active(1)]
    missing.after(0)
    assert missing.after(360) == 1
