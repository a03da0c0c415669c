"""Whatever is done to a record, in the database or in a copy, the chain names that record."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import DatabaseError

from actions.audit import log
from actions.audit.chain import GENESIS, ChainFault, Checkpoint, Verification, Verifier, hash_of
from actions.tables import audit as table
from actions.tables import audit_head
from receiver.db.database import Database, database
from tests.actions.audit.audit_fixtures import fill, unguarded

_RECORDS = 9
_COLUMNS = ("at", "actor", "event", "run_id", "detail", "previous", "hash")
_NUMBERS = st.integers(1, _RECORDS)
Rows = list[dict[str, Any]]


def _chain(records: int = _RECORDS) -> Rows:
    chain: Rows = []
    for seq in range(1, records + 1):
        row = {"seq": seq, "at": 5.5 * seq, "actor": "alice", "event": "paused", "run_id": None}
        row |= {"detail": f'{{"n":{seq}}}', "previous": chain[-1]["hash"] if chain else GENESIS}
        chain.append(row | {"hash": hash_of(row)})
    return chain


def _verify(rows: Rows, whole: Rows) -> Verification:
    """With a signed head for the end, as an export has one."""
    return Verifier(heads={whole[-1]["seq"]: whole[-1]["hash"]}).verify(rows)


def _named(verification: Verification) -> tuple[int | None, ChainFault | None]:
    assert not verification.ok
    return verification.first_bad, verification.fault


@settings(max_examples=1000, deadline=None)
@given(_NUMBERS, st.sampled_from(_COLUMNS), st.text(max_size=4))
def test_an_altered_record(seq: int, column: str, value: str) -> None:
    """Whichever column it was."""
    rows, whole = _chain(), _chain()
    rows[seq - 1][column] = f"not {value}"
    assert _named(_verify(rows, whole)) == (seq, ChainFault.ALTERED)


@settings(max_examples=500, deadline=None)
@given(st.integers(1, _RECORDS - 1), st.integers(1, 3))
def test_removed_records(seq: int, count: int) -> None:
    """One or several, the first as well; at the end it is a truncation."""
    rows, whole = _chain(), _chain()
    del rows[seq - 1 : seq - 1 + count]
    at_the_end = seq + count > _RECORDS
    fault = ChainFault.TRUNCATED if at_the_end else ChainFault.REMOVED
    assert _named(_verify(rows, whole)) == (seq, fault)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, _RECORDS - 1))
def test_a_truncated_chain(kept: int) -> None:
    """Only what was signed before knows of what is gone; nothing may be left at all."""
    rows, whole = _chain(), _chain()
    assert _named(_verify(rows[:kept], whole)) == (kept + 1, ChainFault.TRUNCATED)


@settings(max_examples=1000, deadline=None)
@given(seq=st.integers(1, _RECORDS), copied=_NUMBERS, forged=st.booleans())
def test_an_inserted_record(seq: int, copied: int, *, forged: bool) -> None:
    """A copy of another record, or one that was made up."""
    rows, whole = _chain(), _chain()
    row = dict(whole[copied - 1])
    if forged:
        row |= {"seq": seq, "actor": "mallory"}
    rows.insert(seq - 1, row)
    # A copy right before its original is told from it by nothing: the second one is too many.
    expected = seq + 1 if not forged and copied == seq else seq
    assert _named(_verify(rows, whole)) == (expected, ChainFault.INSERTED), (seq, copied, forged)


@settings(max_examples=1000, deadline=None)
@given(st.lists(_NUMBERS, min_size=2, max_size=2, unique=True))
def test_swapped_records(pair: list[int]) -> None:
    """The earlier place of the two is named."""
    rows, whole = _chain(), _chain()
    first, second = sorted(pair)
    rows[first - 1], rows[second - 1] = rows[second - 1], rows[first - 1]
    assert _named(_verify(rows, whole)) == (first, ChainFault.REORDERED)


@settings(max_examples=200, deadline=None)
@given(_NUMBERS)
def test_a_chain_that_was_made_anew_from_a_record_on(seq: int) -> None:
    """It holds by itself; the head that was signed before says otherwise."""
    rows, whole = _chain(), _chain()
    before = rows[seq - 2]["hash"] if seq > 1 else GENESIS
    rows[seq - 1]["actor"] = "mallory"
    for row in rows[seq - 1 :]:
        row["previous"] = before
        row["hash"] = before = hash_of(row)
    heads = {row["seq"]: row["hash"] for row in whole}
    assert Verifier().verify(rows).ok
    assert _named(Verifier(heads=heads).verify(rows)) == (seq, ChainFault.REWRITTEN)


def test_what_was_pruned_is_carried_on_by_a_record_or_by_a_head() -> None:
    """Else it is missing."""
    whole = _chain()
    after = Checkpoint(4, whole[3]["hash"])
    assert _named(Verifier(after=after).verify(whole[4:])) == (1, ChainFault.REMOVED)
    assert Verifier(after=after, heads={4: after.hash}).verify(whole[4:]).ok


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    state = database(f"sqlite:///{tmp_path_factory.mktemp('kept')}/state.db")
    state.migrate("state")
    fill(state, _RECORDS)
    unguarded(state)
    yield state
    state.engine.dispose()


def _after(state: Database, change: Callable[[Any], None]) -> tuple[int | None, ChainFault | None]:
    """What the chain says in the database after a change, which is rolled back."""
    with state.engine.connect() as connection, connection.begin() as transaction:
        change(connection)
        verification = log.verify(connection)
        transaction.rollback()
    return _named(verification)


@settings(max_examples=150, deadline=None)
@given(_NUMBERS, st.sampled_from(_COLUMNS[1:]))
def test_an_altered_row(filled: Database, seq: int, column: str) -> None:
    """In the database."""
    change = update(table).where(table.c.seq == seq).values({column: "other"})
    assert _after(filled, lambda connection: connection.execute(change)) == (
        seq,
        ChainFault.ALTERED,
    )


@settings(max_examples=50, deadline=None)
@given(_NUMBERS)
def test_a_removed_row(filled: Database, seq: int) -> None:
    """The last one is missed by the head."""
    change = delete(table).where(table.c.seq == seq)
    fault = ChainFault.TRUNCATED if seq == _RECORDS else ChainFault.REMOVED
    assert _after(filled, lambda connection: connection.execute(change)) == (seq, fault)


@settings(max_examples=100, deadline=None)
@given(st.lists(_NUMBERS, min_size=2, max_size=2, unique=True))
def test_swapped_rows(filled: Database, pair: list[int]) -> None:
    """Two rows that changed numbers."""
    first, second = sorted(pair)

    def change(connection: Any) -> None:
        for old, new in ((first, 99), (second, first), (99, second)):
            connection.execute(update(table).where(table.c.seq == old).values(seq=new))

    assert _after(filled, change) == (first, ChainFault.REORDERED)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, _RECORDS + 1))
def test_an_inserted_row(filled: Database, seq: int) -> None:
    """The others moved up to make room."""

    def change(connection: Any) -> None:
        for old in range(_RECORDS, seq - 1, -1):
            connection.execute(update(table).where(table.c.seq == old).values(seq=old + 1))
        row = {"seq": seq, "at": 1.0, "actor": "mallory", "event": "resumed", "run_id": None}
        row |= {"detail": "{}", "previous": GENESIS}
        connection.execute(insert(table).values(row | {"hash": hash_of(row)}))

    assert _after(filled, change) == (seq, ChainFault.INSERTED)


def test_a_row_that_the_first_one_was_made_to_look_pruned(filled: Database) -> None:
    """The head alone does not say that something was pruned: the chain must say so, too."""

    def change(connection: Any) -> None:
        connection.execute(delete(table).where(table.c.seq <= 3))
        connection.execute(update(audit_head).values(pruned=3))

    assert _after(filled, change) == (1, ChainFault.REMOVED)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'mallory' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 5",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2",
    ],
)
def test_the_database_refuses_to_change_what_is_on_record(state: Database, statement: str) -> None:
    """Whoever has no right to drop triggers cannot alter or remove anything."""
    fill(state, 5)
    with pytest.raises(DatabaseError, match="audit record"), state.write() as connection:
        connection.execute(text(statement))
    with state.read() as connection:
        assert log.verify(connection).ok
