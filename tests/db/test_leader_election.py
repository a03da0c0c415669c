"""A leader starts completely or not at all: a half-started one stops before it starts again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select, update

from receiver.db.database import Database
from receiver.db.leader_election import LeaseElector
from receiver.db.tables import leadership

_WITHIN_S = 20.0


@dataclass
class Activity:
    """Records starts and stops; a call named in `failing` raises once."""

    failing: list[str]
    calls: list[str] = field(default_factory=list)

    def lead(self) -> None:
        self._called("lead")

    def stand_down(self) -> None:
        self._called("stand down")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            self.failing.remove(name)
            raise RuntimeError(name)

    def eventually(self, calls: list[str]) -> None:
        until = time.monotonic() + _WITHIN_S
        while self.calls != calls:
            assert time.monotonic() < until, self.calls
            time.sleep(0.05)


@contextmanager
def elector(shared: Database, activity: Activity) -> Iterator[LeaseElector]:
    started = LeaseElector(shared, "one")
    started.start(activity.lead, activity.stand_down)
    try:
        yield started
    finally:
        started.stop()


def another_leads_for_a_moment(shared: Database) -> None:
    with shared.write() as connection:
        row = connection.execute(select(leadership)).one()
        expired = {"holder": "another", "term": row.term + 1, "until": 0.0}
        connection.execute(update(leadership).values(expired))


def test_a_half_started_leader_stops_before_it_starts_again(shared: Database) -> None:
    """Otherwise a half-started leader could not start again."""
    activity = Activity(failing=["lead"])
    with elector(shared, activity):
        activity.eventually(["lead", "stand down", "lead"])
    assert activity.calls[-1] == "stand down"


def test_a_failed_stop_is_repeated_before_the_next_start(shared: Database) -> None:
    """The leader stopped half-way and got its lease back: it must not stay half-stopped."""
    activity = Activity(failing=["stand down"])
    with elector(shared, activity):
        activity.eventually(["lead"])
        another_leads_for_a_moment(shared)
        activity.eventually(["lead", "stand down", "stand down", "lead"])


def test_a_new_term_restarts_the_leader(shared: Database) -> None:
    """Another receiver may have acted in between, and only a start picks up what it left."""
    activity = Activity(failing=[])
    with elector(shared, activity):
        activity.eventually(["lead"])
        another_leads_for_a_moment(shared)
        activity.eventually(["lead", "stand down", "lead"])
