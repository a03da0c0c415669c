"""Lists, counts and groups of many runs, on SQLite and on PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update
from ulid import ULID

from receiver.db.database import Database, database
from receiver.db.tables import runs
from receiver.runs import intake
from receiver.runs.model import State
from receiver.runs.queries import groups, search, stats
from receiver.runs.queries.search import RunFilter
from receiver.runs.queries.unremedied import Subject, UnremediedAlerts
from receiver.webhook import episodes, payload
from receiver.webhook.episodes import Episode, QueuedAlert
from receiver.webhook.inbox import Inbox

_NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Records:
    state: Database
    inbox: Inbox

    def refuse(self, host: int, group: str, refusal: str, *, at: float = _NOW) -> str:
        """A refused run of an alert that fires."""
        labels = {
            "alertname": "HighCPU",
            "severity": "critical",
            "instance_id": f"i-{host:017x}",
            "asg": group,
            "nodename": f"web-{host}%",
        }
        alert = payload.parse_alert({"labels": labels}, at)
        assert alert is not None
        queued = QueuedAlert(id=str(ULID.from_timestamp(at)), received_at=at, alert=alert)
        with self.state.write() as connection:
            intake.insert_from_inbox(connection, [queued], at)
            ended = {"state": State.REFUSED, "refusal": refusal, "ended_at": at}
            connection.execute(update(runs).where(runs.c.id == queued.id).values(ended))
        episode = Episode(
            key=queued.id, run_id=queued.id, starts_at=at, last_seen_at=at, ended_at=at
        )
        with self.inbox.database.write() as connection:
            episodes.save(connection, [episode], [])
        return queued.id


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    if request.param == "sqlite":
        state, kept = (database(f"sqlite:///{tmp_path}/{name}.db") for name in ("state", "inbox"))
    else:
        state = kept = request.getfixturevalue("empty")
    state.migrate("state")
    kept.migrate("inbox")
    return Records(state, Inbox(database=kept, gap_s=360, arrived=lambda: None))


def _ids(records: Records, wanted: RunFilter) -> Sequence[str]:
    with records.state.read() as connection:
        return [run.id for run in search.list_runs(connection, wanted)]


def test_a_storm_is_counted_searched_and_one_row(records: Records) -> None:
    """By subject and by day; what was refuted is on no list of what nobody is on."""
    storm = [records.refuse(host, "web-asg", "storm", at=_NOW + host) for host in range(3)]
    alone = records.refuse(7, "", "no_playbook")
    refuted = records.refuse(8, "api-asg", "verdict_refuted", at=_NOW - 86_400)
    alerts = UnremediedAlerts(database=records.state, inbox=records.inbox)
    first, second = alerts.by_subject(_NOW + 60)
    assert (first.subject.where, first.count, first.newest) == ("web-asg", 3, storm[2])
    assert (second.target, second.count, second.group) == (f"i-{7:017x}", 1, None)
    subject = Subject(alertname="HighCPU", where="web-asg", account="", region="")
    assert alerts.run_ids(_NOW + 60, subject) == storm
    assert alerts.by_subject(_NOW + 600) == []
    with records.state.read() as connection:
        ended = groups.ended_since(connection, _NOW - 60, 10)
        days = stats.count_by_day(connection, _NOW + 60, 2)
        assert stats.recovery_times(connection, "high-cpu", "reboot_instance") == []
    assert [(group.group, group.count, group.newest) for group in ended] == [
        ("web-asg", 3, storm[2]),
        (None, 1, alone),
    ]
    assert [sum(day.counts.values()) for day in days] == [1, 4]
    for wanted, found in (
        (RunFilter(text="WEB-2% highcpu"), storm[2:]),
        (RunFilter(refusal="verdict_refuted", severity="critical"), [refuted]),
        (RunFilter(group="web-asg", since=_NOW + 1, until=_NOW + 2), storm[1:2]),
        (RunFilter(alertname="HighCPU", among=[alone]), [alone]),
        (RunFilter(text="_"), []),
    ):
        assert _ids(records, wanted) == found, wanted
