"""Alerts are on disk before they are acknowledged, and each episode becomes one run."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.db.database import Database, database
from receiver.webhook.delivery import InboxUnavailableError, Receipt
from receiver.webhook.episodes import RunEnded
from receiver.webhook.inbox import Inbox
from receiver.webhook.payload import Alert
from tests.conftest import Clock

GAP_S = 360.0


def _alert(key: str = "a" * 16, *, firing: bool = True, ends_at: float | None = None) -> Alert:
    return Alert(
        key=key,
        fingerprint=key,
        firing=firing,
        labels={"alertname": "HighCPU"},
        annotations={},
        starts_at=1000.0,
        ends_at=ends_at,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def inbox(path: Path, request: pytest.FixtureRequest) -> Iterator[Inbox]:
    """An inbox on each kind of database."""
    given: Database | None = None
    if request.param == "postgresql":
        given = request.getfixturevalue("empty")
    inbox = _opened(path, given)
    yield inbox
    inbox.stop()


def _opened(path: Path, given: Database | None = None, *, backlog: int = 200_000) -> Inbox:
    records = given or database(f"sqlite:///{path}")
    inbox = Inbox(records, GAP_S, lambda: None, backlog=backlog)
    inbox.database.migrate("inbox")
    inbox.start()
    return inbox


def _submit(inbox: Inbox, *alerts: Alert, at: float) -> Receipt:
    return inbox.submit(alerts, at).result(10)


def _end(inbox: Inbox, *, reopens_at: float | None = None) -> None:
    inbox.record_end(RunEnded(inbox.queued()[-1].id, 1_800_000_000.0, reopens_at))


def test_copies_in_parallel_become_one_run(inbox: Inbox, clock: Clock) -> None:
    """Fifty posts at once, one is accepted."""
    with ThreadPoolExecutor(50) as pool:
        receipts = list(pool.map(lambda _: _submit(inbox, _alert(), at=clock()), range(50)))
    assert sum(receipt.accepted for receipt in receipts) == 1
    assert sum(receipt.duplicates for receipt in receipts) == 49
    assert len(inbox.queued()) == 1


def test_copies_in_one_delivery_become_one_run(inbox: Inbox, clock: Clock) -> None:
    """Also where one body names an alert twice."""
    receipt = _submit(inbox, _alert(), _alert(), _alert("b" * 16), at=clock())
    assert receipt == Receipt(accepted=2, duplicates=1)


def test_a_known_alert_is_known_after_a_restart(path: Path, clock: Clock) -> None:
    """What was acknowledged is on disk."""
    first = _opened(path)
    _submit(first, _alert(), at=clock())
    first.stop()
    second = _opened(path)
    assert _submit(second, _alert(), at=clock() + 1).duplicates == 1
    assert [queued.alert for queued in second.queued()] == [_alert()]
    second.stop()


def test_an_episode_stays_open_while_its_run_goes_on(inbox: Inbox, clock: Clock) -> None:
    """Resolved and fired again during a run is still the same episode."""
    _submit(inbox, _alert(), at=clock())
    assert _submit(inbox, _alert(firing=False, ends_at=2000.0), at=clock() + 5).resolved == 1
    assert _submit(inbox, _alert(), at=clock() + 10).duplicates == 1


@pytest.mark.parametrize(
    ("resolved", "reopens_after", "silence", "accepted"),
    [
        (True, None, 10.0, 1),
        (False, None, 10.0, 0),
        (False, None, GAP_S, 0),
        (False, None, GAP_S + 1, 1),
        (False, 60.0, 59.0, 0),
        (False, 60.0, 60.0, 1),
    ],
)
def test_an_ended_episode_closes_once_it_is_over(
    inbox: Inbox,
    *,
    resolved: bool,
    reopens_after: float | None,
    silence: float,
    accepted: int,
) -> None:
    """After the end a firing copy is new if the alert was resolved, silent, or may be retried."""
    now = 1_800_000_000.0
    _submit(inbox, _alert(), at=now)
    _end(inbox, reopens_at=None if reopens_after is None else now + reopens_after)
    if resolved:
        _submit(inbox, _alert(firing=False, ends_at=2000.0), at=now)
    assert _submit(inbox, _alert(), at=now + silence).accepted == accepted


def test_an_alert_that_began_again_after_its_run_is_a_new_episode(
    inbox: Inbox, clock: Clock
) -> None:
    """Over and back within Alertmanager's group interval: nobody said that it was resolved."""
    _submit(inbox, _alert(), at=clock())
    _end(inbox)
    again = replace(_alert(), starts_at=1_800_000_001.0)
    assert _submit(inbox, _alert(), again, at=clock() + 5) == Receipt(accepted=1, duplicates=1)


def test_an_alert_without_a_start_began_when_it_was_first_seen(inbox: Inbox, clock: Clock) -> None:
    """Its copies are no new beginning, also after its run has ended."""
    alert = replace(_alert(), starts_at=None)
    _submit(inbox, alert, at=clock())
    (queued,) = inbox.queued()
    assert queued.starts_at == clock()
    _end(inbox)
    assert _submit(inbox, alert, at=clock() + 5) == Receipt(duplicates=1)
    assert inbox.episodes_of([queued.id])[queued.id].starts_at == clock()


def test_a_caller_that_was_cut_off_stops_nobody(inbox: Inbox, clock: Clock) -> None:
    """Its alerts are stored, and the next delivery is taken."""
    for _ in range(20):
        inbox.submit([_alert()], clock()).cancel()
    assert _submit(inbox, _alert("b" * 16), at=clock()).accepted == 1
    assert len(inbox.queued()) == 2


def test_a_late_resolve_of_an_earlier_firing_is_no_resolve(inbox: Inbox, clock: Clock) -> None:
    """A second Alertmanager may deliver the old end after the new beginning."""
    _submit(inbox, _alert(), at=clock())
    _submit(inbox, _alert(firing=False, ends_at=999.0), at=clock())
    episode = inbox.episodes_of([inbox.queued()[0].id])[inbox.queued()[0].id]
    assert episode.resolved_at is None


def test_a_resolve_of_an_unknown_alert_is_only_counted(inbox: Inbox, clock: Clock) -> None:
    """There is nothing to run for."""
    assert _submit(inbox, _alert(firing=False), at=clock()) == Receipt(resolved=1)
    assert inbox.queued() == []


def test_a_key_that_is_no_hash_is_a_key_like_any_other(inbox: Inbox, clock: Clock) -> None:
    """Nothing in it is taken for SQL."""
    keys = ["') OR true --", "a' b", "%s"]
    for key in keys:
        assert _submit(inbox, _alert(key), at=clock()) == Receipt(accepted=1)
    for key in keys:
        assert _submit(inbox, _alert(key), at=clock()) == Receipt(duplicates=1)


def test_ten_thousand_alerts_in_one_delivery_are_all_kept(inbox: Inbox, clock: Clock) -> None:
    """A group of this size is real."""
    many = [_alert(f"{number:016x}") for number in range(10_000)]
    assert _submit(inbox, *many, at=clock()).accepted == 10_000
    assert len(inbox.queued(limit=20_000)) == 10_000


def test_a_full_backlog_is_refused(path: Path, clock: Clock) -> None:
    """The sender keeps what cannot be taken."""
    inbox = _opened(path, backlog=1)
    with pytest.raises(InboxUnavailableError, match="backlog"):
        inbox.submit([_alert(), _alert("b" * 16)], clock())
    inbox.stop()


def test_what_breaks_after_storing_stops_no_later_delivery(path: Path, clock: Clock) -> None:
    """Without its writer nothing would be taken any more, and nobody would know."""

    def broken() -> None:
        raise LookupError

    inbox = Inbox(database(f"sqlite:///{path}"), GAP_S, broken)
    inbox.database.migrate("inbox")
    inbox.start()
    for key in ("a" * 16, "b" * 16):
        assert _submit(inbox, _alert(key), at=clock()).accepted == 1
    assert inbox.alive
    inbox.stop()


def test_nothing_is_taken_where_nobody_stores(path: Path, clock: Clock) -> None:
    """Before it is started, and after it ended: the sender keeps it and hears at once."""
    inbox = _opened(path)
    inbox.stop()
    with pytest.raises(InboxUnavailableError, match="the inbox writer is not running"):
        inbox.submit([_alert()], clock())


def test_what_comes_while_it_stops_is_refused_at_once(path: Path, clock: Clock) -> None:
    """Its last commit may take long; what came after it would never be answered."""
    inbox = _opened(path)
    with ThreadPoolExecutor() as pool, inbox.database.write():
        first = inbox.submit([_alert()], clock())
        stopped = pool.submit(inbox.stop)
        while True:
            try:
                inbox.submit([_alert("b" * 16)], clock())
            except InboxUnavailableError:
                break
            time.sleep(0.01)
    stopped.result(10)
    assert first.result(0).accepted == 1


def test_what_cannot_be_stored_is_not_acknowledged(path: Path, clock: Clock) -> None:
    """An error for the sender, no receipt; what SQLite says, and no word of the statement."""
    inbox = _opened(path)
    with inbox.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE inbox_received")
    with pytest.raises(InboxUnavailableError, match=r"^not stored: no such table: inbox_received$"):
        _submit(inbox, _alert(), at=clock())
    inbox.stop()


class _Slow(list[Alert]):
    """Takes its time to be counted, so that others count meanwhile."""

    def __len__(self) -> int:
        time.sleep(0.001)
        return super().__len__()


def test_what_is_stored_waits_no_more(path: Path) -> None:
    """Else the count would drift, and in the end refuse everything, or bound nothing."""
    inbox = _opened(path, backlog=1000)
    alerts = [_alert()]
    try:
        with ThreadPoolExecutor(4) as pool:
            stored = list(pool.map(lambda _: inbox.submit(_Slow(alerts), 1000.0), range(200)))
        for receipt in stored:
            receipt.result(10)
        with pytest.raises(InboxUnavailableError):
            inbox.submit(alerts * 1001, 1000.0)
        inbox.submit(alerts * 1000, 1000.0).result(10)
    finally:
        inbox.stop()


def test_a_storm_holds_other_work_back_and_lets_it_go_on(inbox: Inbox, clock: Clock) -> None:
    """A hundred deliveries a second, for four seconds: others work in between, but seldom."""
    turns, ends_at = list[float](), time.monotonic() + 4

    def work() -> None:
        while (now := time.monotonic()) < ends_at:
            inbox.yield_to_deliveries()
            turns.append(now)
            time.sleep(0.01)

    with ThreadPoolExecutor() as pool:
        worker = pool.submit(work)
        while time.monotonic() < ends_at:
            inbox.submit([_alert()], clock.now)
            time.sleep(0.0005)
        worker.result(10)
    assert len(turns) < 0.6 * 400
    assert max(turns) > ends_at - 2.6
