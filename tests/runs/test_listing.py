"""Runs and the alerts of the inbox in one list, as if each alert had its run already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update
from ulid import ULID

from receiver.db.database import Database, database
from receiver.db.tables import runs
from receiver.runs import intake
from receiver.runs.model import Run, State
from receiver.runs.queries import listing
from receiver.runs.queries.search import RunFilter
from receiver.webhook import episodes
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.payload import Alert

_START = 1_800_000_000.0


@dataclass
class Records:
    state: Database
    inbox: Database

    def receive(self, count: int, first: int = 0, **labels: str) -> list[QueuedAlert]:
        """Alerts in the inbox, one a second from `first` on, oldest first."""
        alerts = [_alert(_START + first + index, labels) for index in range(count)]
        with self.inbox.write() as connection:
            episodes.save(connection, [], alerts)
        return alerts

    def insert_runs(self, alerts: Sequence[QueuedAlert], state: State) -> None:
        """Insert runs of the alerts, which stay in the inbox as while they are dispatched."""
        with self.state.write() as connection:
            intake.insert_from_inbox(connection, alerts, _START)
            ids = [alert.id for alert in alerts]
            connection.execute(update(runs).where(runs.c.id.in_(ids)).values(state=state))

    def list(self, wanted: RunFilter | None = None, **page: Any) -> Sequence[Run]:
        with self.inbox.read() as inbox, self.state.read() as connection:
            return listing.list_runs(connection, inbox, wanted or RunFilter(), **page)


def _alert(at: float, labels: Mapping[str, str]) -> QueuedAlert:
    alert = Alert(
        key="0" * 16,
        fingerprint="0" * 16,
        firing=True,
        labels=labels,
        annotations={},
        starts_at=at,
        ends_at=None,
    )
    return QueuedAlert(id=str(ULID.from_timestamp(at)), received_at=at, alert=alert)


@pytest.fixture
def records(state: Database, tmp_path: Path) -> Iterator[Records]:
    inbox = database(f"sqlite:///{tmp_path}/inbox.db")
    inbox.migrate("inbox")
    yield Records(state, inbox)
    inbox.engine.dispose()


def _ids(items: Sequence[Run] | Sequence[QueuedAlert]) -> list[str]:
    return [item.id for item in items]


def test_pages_show_each_run_and_alert_once_newest_first(records: Records) -> None:
    """Also an alert that has its run and has not left the inbox."""
    alerts = records.receive(30)
    records.insert_runs(alerts[::3], State.REFUSED)
    listed: list[Run] = []
    while page := records.list(before=listed[-1].id if listed else None, limit=7):
        listed += page
    assert _ids(listed) == _ids(alerts)[::-1]
    refused = [run.id for run in listed if run.state is State.REFUSED]
    assert refused == _ids(alerts[::3])[::-1]
    assert {run.state for run in listed} == {State.REFUSED, State.RECEIVED}


def test_an_alert_is_shown_as_its_run_will_be(records: Records) -> None:
    (alert,) = records.receive(1, instance_id="i-0123456789abcdef0", asg="web-asg", odd="\0 é")
    with records.inbox.read() as inbox, records.state.read() as connection:
        before = listing.get(connection, inbox, alert.id)
        assert listing.get(connection, inbox, str(ULID())) is None
    assert before is not None
    records.insert_runs([alert], State.RECEIVED)
    with records.inbox.read() as inbox, records.state.read() as connection:
        after = listing.get(connection, inbox, alert.id)
    assert after is not None
    assert vars(before) | {"updated_at": 0} == vars(after) | {"updated_at": 0}


def test_filters_hold_for_alerts_of_the_inbox(records: Records) -> None:
    old = records.receive(600, asg="api-asg")
    hosts = records.receive(700, 1000, asg="web-asg", instance_id="i-0123456789abcdef0")
    records.insert_runs(hosts[1:], State.DECIDING)
    assert _ids(records.list(RunFilter(state=State.RECEIVED), limit=2)) == [
        hosts[0].id,
        old[-1].id,
    ]
    assert _ids(records.list(RunFilter(target="api-asg"), limit=2)) == _ids(old[:-3:-1])
    assert _ids(records.list(RunFilter(target="i-0123456789abcdef0"), limit=1000)) == _ids(
        hosts[::-1]
    )
    assert records.list(RunFilter(target="web-asg")) == []
    assert records.list(RunFilter(playbook="high-cpu")) == []
    assert records.list(RunFilter(state=State.SUCCEEDED)) == []
    since = RunFilter(since=hosts[-1].received_at)
    assert _ids(records.list(since)) == [hosts[-1].id]


def test_a_full_inbox_is_read_by_one_bounded_query(records: Records) -> None:
    alerts = records.receive(10_000, instance_id="i-0123456789abcdef0")
    queries: list[str] = []

    @event.listens_for(records.inbox.engine, "before_cursor_execute")
    def note(*sent: Any) -> None:
        queries.append(sent[2])

    assert _ids(records.list(limit=101)) == _ids(alerts[:-102:-1])
    (query,) = [query for query in queries if query.startswith("SELECT")]
    assert "LIMIT" in query
    queries.clear()
    # A filter that no alert passes reads as many alerts as the bound allows.
    assert records.list(RunFilter(target="i-0aaaaaaaaaaaaaaaa"), limit=101) == []
    assert len(queries) <= 12
