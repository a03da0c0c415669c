"""The audit chain, and what it notices."""

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

from actions.audit import log
from actions.audit.chain import Verification
from actions.audit.log import Event
from actions.tables import audit as table
from actions.tables import audit_head
from receiver.db.database import Database, database
from tests.actions.audit.audit_fixtures import unguarded


@pytest.fixture
def chain(state: Database) -> Database:
    for number in range(1, 6):
        with state.write() as connection:
            event = Event(actor="alice", event="paused", detail={"comment": f"number {number}"})
            log.append(connection, 100.5 + number, event)
    unguarded(state)
    return state


def _verified(state: Database) -> Verification:
    with state.read() as connection:
        return log.verify(connection)


def test_an_untouched_chain_holds(chain: Database) -> None:
    """Every record is read and none is bad."""
    assert _verified(chain) == Verification(ok=True, records=5, first_bad=None)


def test_an_empty_chain_holds(state: Database) -> None:
    """A new installation has nothing to hide."""
    assert _verified(state).ok


def _append(state: Database, comment: str) -> None:
    with state.write() as connection:
        event = Event(actor="alice", event="paused", detail={"comment": comment})
        log.append(connection, 200.5, event, event)


def _two_processes_append(one: Database) -> None:
    # The second has what another process has: its own engine.
    url = one.engine.url.render_as_string(hide_password=False)
    other = database(url)
    for state in (one, other, one, one, other):
        _append(state, "in turn")
    with suppress(RuntimeError), one.write() as connection:
        log.append(connection, 300.5, Event(actor="alice", event="resumed"))
        raise RuntimeError
    _append(one, "after a change that was rolled back")
    other.engine.dispose()


def test_processes_that_append_in_turn_make_one_chain(state: Database) -> None:
    """Each follows the last record on disk, not the last that it wrote itself or tried to."""
    _two_processes_append(state)
    assert _verified(state) == Verification(ok=True, records=12, first_bad=None)


def test_replicas_that_append_in_turn_make_one_chain(shared: Database) -> None:
    """The same on PostgreSQL, which several receivers share."""
    before = _verified(shared).records
    _two_processes_append(shared)
    assert _verified(shared) == Verification(ok=True, records=before + 12, first_bad=None)


@pytest.mark.parametrize(
    "change",
    [
        {"detail": '{"comment":"nothing"}'},
        {"actor": "mallory"},
        {"at": 1.0},
        {"event": "resumed"},
        {"run_id": "x"},
        {"hash": "0" * 64},
        {"previous": "0" * 64},
    ],
)
def test_an_altered_record_is_named(chain: Database, change: dict[str, Any]) -> None:
    """Whichever column was changed, the record that has it is the first bad one."""
    with chain.write() as connection:
        connection.execute(update(table).where(table.c.seq == 3).values(change))
    assert _verified(chain).first_bad == 3


@pytest.mark.parametrize("gone", [1, 3, 5])
def test_a_removed_record_is_named(chain: Database, gone: int) -> None:
    """Also the first and the last one."""
    with chain.write() as connection:
        connection.execute(delete(table).where(table.c.seq == gone))
    assert _verified(chain).first_bad == gone


def test_swapped_records_are_named(chain: Database) -> None:
    """Two records that changed places."""
    with chain.write() as connection:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            connection.execute(update(table).where(table.c.seq == old).values(seq=new))
    assert _verified(chain).first_bad == 2


def test_an_appended_record_that_the_head_does_not_know_is_named(chain: Database) -> None:
    """A record that was written past the program."""
    with chain.write() as connection:
        last = connection.execute(select(table).where(table.c.seq == 5)).mappings().one()
        connection.execute(insert(table).values(dict(last) | {"seq": 6}))
    assert _verified(chain).first_bad == 6


def test_a_lost_head_is_noticed(chain: Database) -> None:
    """Without its head the chain's end is unknown, and unknown does not hold."""
    with chain.write() as connection:
        connection.execute(delete(audit_head))
    assert not _verified(chain).ok


def test_nothing_is_recorded_for_a_change_that_is_rolled_back(chain: Database) -> None:
    """The record and the change are one transaction."""

    def change() -> None:
        with chain.write() as connection:
            log.append(connection, 1.0, Event(actor="bob", event="resumed"))
            raise LookupError("the change itself")

    with pytest.raises(LookupError):
        change()
    assert _verified(chain).records == 5


def test_hostile_text_is_kept_as_it_is(chain: Database) -> None:
    """NUL, lone surrogates and quotes survive, and the stored text is plain ASCII."""
    nasty = "\x00\ud800'; DROP TABLE audit; --\u202e"
    with chain.write() as connection:
        log.append(connection, 1.0, Event(actor="bob", event="x", detail={"text": nasty}))
    assert _verified(chain).ok
    with chain.read() as connection:
        stored = connection.execute(text("SELECT detail FROM audit WHERE seq = 6")).scalar_one()
    assert stored.isascii()


def test_a_whole_second_holds_like_any_other(state: Database) -> None:
    """What was hashed is what the database gives back."""
    with state.write() as connection:
        log.append(connection, 5, Event(actor="bob", event="resumed"))
    assert _verified(state).ok
