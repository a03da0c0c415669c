"""What is read from the records for each scrape: where runs stand, for how long, what rests."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from actions.execution import circuit_breakers, kill_switch, rules
from actions.place import HOME
from receiver.db.database import Database, database
from receiver.gauges import Gauges
from receiver.metrics import NO_PLAYBOOK
from receiver.runs import intake, store, transitions
from receiver.runs.model import IN_FLIGHT, Run, State
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.inbox import Inbox
from receiver.webhook.payload import Alert
from tests.conftest import Clock

ALERT = Alert(
    key="a" * 16,
    fingerprint="a" * 16,
    firing=True,
    labels={"alertname": "HighCPU"},
    annotations={},
    starts_at=1000.0,
    ends_at=None,
)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(database(f"sqlite:///{tmp_path}/inbox.db"), 360.0, lambda: None)
    inbox.database.migrate("inbox")
    inbox.start()
    yield inbox
    inbox.stop()


@dataclass
class Scrape:
    """The gauges of two playbooks as a scrape shows them."""

    state: Database
    inbox: Inbox
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.gauges = Gauges(self.registry, ["high-cpu", "memory"])

    def refresh(self, now: float) -> None:
        self.gauges.refresh(self.state, self.inbox, now)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"smartcloudops_{name}", labels)


@pytest.fixture
def scrape(state: Database, inbox: Inbox) -> Scrape:
    return Scrape(state, inbox)


def _run(state: Database, run_id: str, now: float, to: State, playbook: str) -> None:
    with state.write() as connection:
        intake.insert_from_inbox(
            connection, [QueuedAlert(id=run_id, received_at=now, alert=ALERT)], now
        )
        run = store.get(connection, run_id)
        assert isinstance(run, Run)
        assert transitions.move(connection, run, to, now, playbook=playbook)


def test_open_runs_are_told_by_playbook_state_and_age(
    state: Database, scrape: Scrape, clock: Clock
) -> None:
    """The oldest counts; what has ended does not; a playbook that is gone is none."""
    _run(state, "1" * 26, clock.now - 700, State.AWAITING_APPROVAL, "high-cpu")
    _run(state, "2" * 26, clock.now - 90, State.AWAITING_APPROVAL, "high-cpu")
    _run(state, "3" * 26, clock.now - 30, State.ACTING, "removed")
    _run(state, "4" * 26, clock.now - 9000, State.SUCCEEDED, "memory")
    scrape.refresh(clock.now)
    assert scrape.value("runs_open", playbook="high-cpu", state="awaiting_approval") == 2
    assert scrape.value("runs_open", playbook=NO_PLAYBOOK, state="acting") == 1
    assert scrape.value("runs_open", playbook="memory", state="acting") == 0
    assert scrape.value("oldest_run_seconds", state="awaiting_approval") == 700
    assert scrape.value("oldest_run_seconds", state="acting") == 30
    assert scrape.value("oldest_run_seconds", state="verifying") == 0
    assert scrape.value("runs_in_flight") == 3
    assert scrape.value("awaiting_approval") == 2


def test_an_alert_that_is_decided_later_is_not_stuck(
    state: Database, scrape: Scrape, clock: Clock
) -> None:
    """As one of many that a window's end let through."""
    later = QueuedAlert(
        id="1" * 26, received_at=clock.now - 90, alert=ALERT, not_before=clock.now + 90
    )
    with state.write() as connection:
        intake.insert_from_inbox(connection, [later], clock.now - 90)
    scrape.refresh(clock.now)
    assert scrape.value("oldest_run_seconds", state="received") == 0
    scrape.refresh(clock.now + 100)
    assert scrape.value("oldest_run_seconds", state="received") == 10


def test_every_state_and_playbook_starts_at_zero(scrape: Scrape) -> None:
    """A panel and a rule have their series before the first run."""
    for state in IN_FLIGHT:
        assert scrape.value("oldest_run_seconds", state=state) == 0
        assert scrape.value("runs_open", playbook="memory", state=state) == 0
    assert scrape.value("breaker_open", playbook="memory") == 0


def test_a_breaker_is_open_while_it_lets_nothing_through(
    state: Database, scrape: Scrape, clock: Clock
) -> None:
    """Not after two failures, and no more once one run may try."""
    for failures in (1, 2, 3):
        with state.write() as connection:
            circuit_breakers.record_failure(connection, HOME, "high-cpu", clock.now)
        scrape.refresh(clock.now)
        assert scrape.value("breaker_open", playbook="high-cpu") == (failures == 3)
    assert scrape.value("breaker_open", playbook="memory") == 0
    scrape.refresh(clock.now + rules.OPEN_S)
    assert scrape.value("breaker_open", playbook="high-cpu") == 0


def test_what_nobody_took_up_is_the_backlog(inbox: Inbox, scrape: Scrape, clock: Clock) -> None:
    """Until it is taken."""
    inbox.submit([ALERT], clock.now).result(10)
    scrape.refresh(clock.now)
    assert scrape.value("inbox_backlog") == 1
    inbox.remove([alert.id for alert in inbox.queued()])
    scrape.refresh(clock.now)
    assert scrape.value("inbox_backlog") == 0


def test_unknown_counts_as_paused(
    state: Database, inbox: Inbox, scrape: Scrape, clock: Clock, tmp_path: Path
) -> None:
    """And what a person paused does, of course."""
    scrape.refresh(clock.now)
    assert scrape.value("paused", account="", region="") == 0
    with state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="alice", comment="deploy", now=clock.now)
    scrape.refresh(clock.now)
    assert scrape.value("paused", account="", region="") == 1
    unreadable = Scrape(database(f"sqlite:///{tmp_path}/empty.db"), inbox)
    unreadable.refresh(clock.now)
    assert unreadable.value("paused", account="", region="") == 1
