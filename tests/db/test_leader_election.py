"""Who leads begins whole, or not at all: what began in part ceases before it begins anew."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select, update

from receiver.db.database import Database
from receiver.db.leader_election import Elected
from receiver.db.tables import leadership

_WITHIN_S = 20.0


@dataclass
class Acting:
    """What begins and ceases; the calls that are to break are told by their names."""

    breaks: list[str]
    calls: list[str] = field(default_factory=list)

    def lead(self) -> None:
        self._called("lead")

    def stand_down(self) -> None:
        self._called("stand down")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.breaks:
            self.breaks.remove(name)
            raise RuntimeError(name)

    def eventually(self, calls: list[str]) -> None:
        until = time.monotonic() + _WITHIN_S
        while self.calls != calls:
            assert time.monotonic() < until, self.calls
            time.sleep(0.05)


@contextmanager
def elected(shared: Database, acting: Acting) -> Iterator[Elected]:
    one = Elected(shared, "one")
    one.start(acting.lead, acting.stand_down)
    try:
        yield one
    finally:
        one.stop()


def another_leads_for_a_moment(shared: Database) -> None:
    with shared.write() as connection:
        row = connection.execute(select(leadership)).one()
        over = {"holder": "another", "term": row.term + 1, "until": 0.0}
        connection.execute(update(leadership).values(over))


def test_what_began_in_part_ceases_before_it_begins_again(shared: Database) -> None:
    """Else the parts that did begin would stand in the way of the next beginning."""
    acting = Acting(breaks=["lead"])
    with elected(shared, acting):
        acting.eventually(["lead", "stand down", "lead"])
    assert acting.calls[-1] == "stand down"


def test_who_could_not_stand_down_does_so_before_it_leads_again(shared: Database) -> None:
    """Half of it stopped, and the lease is its own again: it must not stay so."""
    acting = Acting(breaks=["stand down"])
    with elected(shared, acting):
        acting.eventually(["lead"])
        another_leads_for_a_moment(shared)
        acting.eventually(["lead", "stand down", "stand down", "lead"])


def test_a_new_term_begins_anew(shared: Database) -> None:
    """Another one may have acted in between, and left what only a beginning takes up."""
    acting = Acting(breaks=[])
    with elected(shared, acting):
        acting.eventually(["lead"])
        another_leads_for_a_moment(shared)
        acting.eventually(["lead", "stand down", "lead"])
