"""The migrations make what the tables say."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData

from actions import tables
from receiver import episodes
from receiver import tables as _runs_table  # noqa: F401 it adds the runs
from receiver.database import database


@pytest.mark.parametrize(
    ("history", "metadata"), [("state", tables.metadata), ("inbox", episodes.metadata)]
)
def test_a_migrated_database_is_as_the_tables_say(
    tmp_path: Path, history: str, metadata: MetaData
) -> None:
    """Nothing is missing, and a second migration changes nothing."""
    made = database(f"sqlite:///{tmp_path}/{history}.db")
    for _ in range(2):
        made.migrate(history)
    with made.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": f"schema_{history}",
                # Alembic cannot compare an index that has an order.
                "include_object": lambda _, name, *__: name != "ix_runs_pending",
            },
        )
        assert compare_metadata(context, metadata) == []
