"""The audit on a real PostgreSQL: kept by its triggers, and verified while others write."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from actions.audit import log, prune
from actions.audit.chain import Checkpoint
from receiver.db.database import Database
from tests.actions.audit.audit_fixtures import fill


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'mallory' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 5",
        "DELETE FROM audit",
        "TRUNCATE audit",
    ],
)
def test_the_database_refuses_to_change_what_is_on_record(shared: Database, statement: str) -> None:
    """Whoever has no right to drop triggers cannot alter or remove anything."""
    fill(shared, 5)
    with pytest.raises(DatabaseError, match="audit record"), shared.write() as connection:
        connection.execute(text(statement))
    with shared.read() as connection:
        assert log.verify(connection).ok


def test_a_chain_that_grows_is_verified_as_it_was(shared: Database) -> None:
    """Several write at once while it is read; no reading finds a fault that is none."""
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(fill, shared, 1) for _ in range(200)]
        verifications = []
        for _ in count():
            with shared.read() as connection:
                verifications.append(log.verify(connection))
            if all(writer.done() for writer in writers):
                break
    assert all(verification.ok for verification in verifications)
    assert [writer.result() for writer in writers]
    with shared.read() as connection:
        last = log.verify(connection)
    assert last.ok
    assert last.records >= 200


def test_what_is_pruned_goes_and_nothing_else(shared: Database) -> None:
    """The chain holds from there."""
    fill(shared, 4)
    with shared.read() as connection:
        rows = list(log.rows(connection))
    third = rows[2]
    with shared.write() as connection:
        assert prune.prune(connection, Checkpoint(third["seq"], third["hash"]), "alice", 1.0) == 3
    with shared.read() as connection:
        assert log.verify(connection) == log.Verification(
            ok=True, records=len(rows) - 2, first_bad=None
        )
