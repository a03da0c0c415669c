"""The migrations make what the tables say."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, column, insert, select, update
from sqlalchemy.exc import IntegrityError

from actions.audit import log
from actions.reasons import Reason
from demo.stack.postgres import Postgres
from receiver.db import tables
from receiver.db.database import Database, SchemaError, database
from receiver.evidence.targets import mapping
from receiver.runs import intake, store, transitions
from receiver.runs.model import State
from receiver.runs.queries import search
from receiver.webhook import episodes, payload

_HISTORIES = Path(__file__).parents[2] / "receiver/db/migrations"
_REVISIONS = [(path.parent.name, path.stem) for path in sorted(_HISTORIES.glob("*/*_[0-9]*.py"))]
_JSON = ("detail", "params", "before", "made", "labels", "annotations", "matchers", "basis")
_VALUES = dict.fromkeys(_JSON, "{}") | {
    "gates": "[]",
    "approvals": "[]",
    "fingerprint": '"x"',
    "state": "received",
    "alert": '{"key": "x", "fingerprint": "x", "firing": true, "labels": {}, "annotations": {}, '
    '"starts_at": 1.0, "ends_at": null, "malformed": null}',
}
_ID = "01KAR0SZ1PCQSD8SGKXR6D7C9P"


@pytest.mark.parametrize(
    ("history", "metadata"), [("state", tables.runs.metadata), ("inbox", episodes.metadata)]
)
def test_a_migrated_database_is_as_the_tables_say(
    tmp_path: Path, history: str, metadata: MetaData
) -> None:
    """Nothing is missing, and a second migration changes nothing."""
    migrated = database(f"sqlite:///{tmp_path}/{history}.db")
    for _ in range(2):
        migrated.migrate(history)
    with migrated.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": f"schema_{history}",
                # Alembic cannot compare an index that has an order.
                "include_object": lambda _, name, *__: name != "ix_runs_pending",
            },
        )
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize(("history", "revision"), _REVISIONS)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rows_of_every_revision_are_kept_by_the_newest(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, history: str, revision: str
) -> None:
    """A row in every table of that revision; after the migration all of them can be read."""
    migrated: Database = (
        database(f"sqlite:///{tmp_path}/{history}.db")
        if kind == "sqlite"
        else request.getfixturevalue("empty")
    )
    migrated.migrate(history, to=revision)
    before = _filled(migrated, history)
    migrated.migrate(history)
    after = _rows(migrated, history)
    for name, rows in before.items():
        assert [{key: row[key] for key in rows[0]} for row in after[name]] == rows, name
    with migrated.read() as connection:
        if history == "state":
            run = store.get(connection, _ID)
            assert run is not None
            assert [run.id for run in search.list_runs(connection)] == [_ID]
            assert len(log.records(connection)) == 1
        else:
            assert len(episodes.by_keys(connection, ["x" * 16])) == 1
            assert len(episodes.queued(connection, 5, {})) == 1


@pytest.mark.parametrize("history", ["state", "inbox"])
def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path, history: str) -> None:
    """The older release refuses to start."""
    migrated = database(f"sqlite:///{tmp_path}/{history}.db")
    migrated.migrate(history)
    with migrated.write() as connection:
        revisions = sqlalchemy.table(f"schema_{history}", column("version_num"))
        connection.execute(update(revisions).values(version_num="x_9999"))
    with pytest.raises(SchemaError, match="x_9999"):
        migrated.migrate(history)


@pytest.mark.parametrize("name", ["audit_head", "switch", "leadership"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_of_one_row_refuses_a_second(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, name: str
) -> None:
    """The migrations' comparison does not see check constraints."""
    migrated: Database = (
        database(f"sqlite:///{tmp_path}/state.db")
        if kind == "sqlite"
        else request.getfixturevalue("empty")
    )
    migrated.migrate("state")
    rows = tables.runs.metadata.tables[name]
    with migrated.read() as connection:
        row = dict(connection.execute(select(rows)).mappings().one())
    with pytest.raises(IntegrityError, match="one_row"), migrated.write() as connection:
        connection.execute(insert(rows).values(row | {"id": 2}))


def test_four_that_start_at_once_migrate_once(empty: Database) -> None:
    """Replicas of a new release, started together."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: empty.migrate("state"), range(4)))
    with empty.read() as connection:
        assert search.list_runs(connection) == []


def test_write_checks_at_once_all_pass(server: Postgres) -> None:
    """The records and the inbox of two receivers, on one database."""
    url = server.create("tried")
    migrated = [database(url, use=use) for use in ("state", "inbox") for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            list(pool.map(Database.check_writable, migrated))
    for tried in migrated:
        tried.engine.dispose()


@pytest.mark.parametrize("name", ["asg", "alertname", "instance_id", "severity"])
def test_an_alert_with_any_character_becomes_a_run(empty: Database, name: str) -> None:
    """PostgreSQL keeps no NUL in a text: one such alert must not stop all others."""
    empty.migrate("state")
    labels = {"alertname": "x", name: "a\x00b"}
    alert = payload.parse_alert({"labels": labels}, 1.0)
    assert alert is not None
    with empty.write() as connection:
        intake.insert_from_inbox(
            connection, [episodes.QueuedAlert(id=_ID, received_at=1.0, alert=alert)], 1.0
        )
    with empty.read() as connection:
        run = store.get(connection, _ID)
    assert run is not None
    assert run.labels == labels


@pytest.mark.parametrize("kind", ["state", "shared"])
def test_an_outcome_that_quotes_any_character_is_stored(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Otherwise the refusal of such an alert would fail, and with it all others of its group."""
    records: Database = request.getfixturevalue(kind)
    labels = {"alertname": "x", "instance": "10.0.0.7:9100", "region": "eu\x00west"}
    alert = payload.parse_alert({"labels": labels}, 1.0)
    assert alert is not None
    untrue = mapping.load(None).contradiction(labels, {"region": "eu-west-1"})
    assert untrue is not None
    with records.write() as connection:
        queued = episodes.QueuedAlert(id=_ID, received_at=1.0, alert=alert)
        intake.insert_from_inbox(connection, [queued], 1.0)
        run = store.get(connection, _ID)
        assert run is not None
        outcome = f"it is elsewhere than {untrue}"
        assert transitions.move(
            connection, run, State.REFUSED, 2.0, refusal=Reason.NO_TARGET, outcome=outcome
        )
    with records.read() as connection:
        stored = store.get(connection, _ID)
    assert stored is not None
    assert stored.outcome == "it is elsewhere than region=eu\N{REPLACEMENT CHARACTER}west"


def _filled(migrated: Database, history: str) -> dict[str, list[dict[str, Any]]]:
    """A row in each table that has none; all rows by table."""
    for table in _tables(migrated, history):
        with migrated.write() as connection:
            if connection.execute(select(table)).first() is None:
                connection.execute(insert(table).values({c.name: _value(c) for c in table.c}))
    return _rows(migrated, history)


def _rows(migrated: Database, history: str) -> dict[str, list[dict[str, Any]]]:
    with migrated.read() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in _tables(migrated, history)
        }


def _tables(migrated: Database, history: str) -> list[Table]:
    reflected = MetaData()
    reflected.reflect(migrated.engine)
    return [table for table in reflected.sorted_tables if table.name != f"schema_{history}"]


def _value(column: Column[Any]) -> Any:
    """What a row may have there: JSON where that is kept, the state of a run that began."""
    kind = column.type.python_type
    if column.name in _VALUES:
        return _VALUES[column.name]
    if column.name == "id" and kind is str:
        return _ID
    if column.nullable:
        return None
    length = getattr(column.type, "length", None) or 8
    return "x" * min(length, 16) if kind is str else kind(1)
