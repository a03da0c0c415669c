"""Statements that the database's driver runs itself give what SQLAlchemy gives."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import BindParameter, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError, ProgrammingError

from actions.driver import Statement, run
from actions.step_key import StepKey, StepKind
from actions.tables import intents
from receiver.db.database import Database

_ROW = {
    "action": "reboot_instance",
    "target": 'i-1 "quoted" \N{SNOWMAN} 100%',
    "params": {"force": [1, None, "x"]},
    "before": {},
    "made": {},
    "undoes": None,
    "fence": 2**40,
    "stage": "observed",
    "outcome": "changed",
    "error": None,
    "started_at": 1_700_000_000.123456,
    "dispatched_at": None,
    "ended_at": 0.1,
    "account": "",
    "region": "us-east-1",
}
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_ALL = select(intents).order_by(intents.c.run_id)


def _key(number: int) -> Mapping[str, Any]:
    return {"run_id": f"run{number}", "step": StepKey(StepKind.LADDER, number)}


@pytest.fixture(params=["state", "shared"])
def records(request: pytest.FixtureRequest) -> Database:
    """The records on SQLite, and on PostgreSQL, with three steps."""
    records: Database = request.getfixturevalue(request.param)
    add = Statement(insert(intents))
    with records.write() as connection:
        connection.execute(intents.delete())
        for number in range(3):
            assert add.count(connection, {**_key(number), **_ROW}) == 1
    return records


def test_a_row_returns_as_it_was_stored(records: Database) -> None:
    """Records, keys, floats, large numbers, nothing, and any character."""
    with records.read() as connection:
        rows = Statement(_ALL).rows(connection, {})
        assert rows == [dict(row) for row in connection.execute(_ALL).mappings()]
    assert rows[1] == {**_key(1), **_ROW, "result": None, "cause": None}


@pytest.mark.parametrize(
    ("ids", "among", "others"),
    [([], "", "012"), (["run1"], "1", "02"), (["run0", "run2"], "02", "1")],
)
def test_a_list_may_have_any_length(
    records: Database, ids: list[str], among: str, others: str
) -> None:
    inside = Statement(_ALL.where(intents.c.run_id.in_(_IDS)))
    outside = Statement(_ALL.where(intents.c.run_id.not_in(_IDS)))
    with records.read() as connection:
        found = [
            "".join(row["run_id"][-1] for row in statement.rows(connection, {"ids": ids}))
            for statement in (inside, outside)
        ]
    assert found == [among, others]


def test_a_change_returns_the_row_or_how_many_there_were(records: Database) -> None:
    """The columns that change differ from call to call."""
    change = update(intents).where(intents.c.run_id == bindparam("of"))
    returning = Statement(change.returning(intents.c.made, intents.c.error))
    with records.write() as connection:
        row = returning.row(connection, {"of": "run1", "made": {"id": 7}})
        assert row == {"made": {"id": 7}, "error": None}
        assert returning.row(connection, {"of": "run1", "error": "x"}) == {**row, "error": "x"}
        assert returning.row(connection, {"of": "none", "error": "x"}) is None
        assert Statement(change).count(connection, {"of": "run2", "fence": 3}) == 1
        assert Statement(change).count(connection, {"of": "none", "fence": 3}) == 0


def test_a_missing_value_is_an_error_not_null(shared: Database) -> None:
    """Otherwise a guard that asks without one would find nothing."""
    statement = Statement(_ALL.where(intents.c.run_id == bindparam("of")))
    with shared.read() as connection, pytest.raises(LookupError, match="of"):
        statement.rows(connection, {})


def test_its_errors_are_those_of_sqlalchemy(records: Database) -> None:
    """Whoever retries or explains an error looks at its class."""
    with pytest.raises(IntegrityError), records.write() as connection:
        run(connection, "INSERT INTO audit (seq) VALUES (NULL)")
    with pytest.raises(Exception, match="nowhere") as caught, records.read() as connection:
        run(connection, "SELECT 1 FROM nowhere")
    postgresql = records.engine.dialect.name == "postgresql"
    assert isinstance(caught.value, ProgrammingError) is postgresql
