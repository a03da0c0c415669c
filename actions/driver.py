"""Runs statements by the database's driver, as SQLAlchemy takes longer than the database."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Delete,
    Dialect,
    Float,
    Insert,
    Numeric,
    Select,
    Update,
)
from sqlalchemy.exc import DBAPIError

_Clause: TypeAlias = Select[*tuple[Any, ...]] | CompoundSelect[Any] | Insert | Update | Delete
_Processor: TypeAlias = Callable[[Any], Any]
# SQLAlchemy would write a placeholder for each value; PostgreSQL takes an array, whatever its size.
_IN, _NOT_IN = (re.compile(rf"{word} \(__\[POSTCOMPILE_(\w+)\]\)") for word in (" IN", " NOT IN"))


def run(connection: Connection, sql: str, *parameters: Any, **options: Any) -> Any:
    """Run it in the connection's transaction. Returns the driver's cursor.

    Raises SQLAlchemy's errors.
    """
    driver: Any = connection.connection.driver_connection
    errors = connection.dialect.loaded_dbapi.Error
    try:
        return driver.execute(sql, *parameters, **options)
    except errors as error:
        if getattr(driver, "closed", False):
            connection.invalidate(error)
        raise DBAPIError.instance(sql, None, error, errors, dialect=connection.dialect) from error


@dataclass(frozen=True)
class _Compiled:
    sql: str
    constants: Mapping[str, Any]
    to_database: Mapping[str, _Processor]
    names: Sequence[str]
    from_database: Sequence[tuple[str, _Processor]]


@dataclass(eq=False)
class Statement:
    """A statement that is built once and run often, on PostgreSQL by the driver itself.

    Of an insert and an update, the values are columns, too.
    """

    clause: _Clause
    _compiled: dict[tuple[str, ...], _Compiled] = field(default_factory=dict, init=False)

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        """The rows by name of column."""
        if connection.dialect.name != "postgresql":
            return [dict(row) for row in connection.execute(self.clause, values).mappings()]
        compiled = self._for(connection.dialect, values)
        rows = [
            dict(zip(compiled.names, row, strict=True))
            for row in run(connection, compiled.sql, _given(compiled, values))
        ]
        for name, process in compiled.from_database:
            for row in rows:
                row[name] = process(row[name])
        return rows

    def row(self, connection: Connection, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The first row, or None."""
        return next(iter(self.rows(connection, values)), None)

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run a change. Returns how many rows it changed."""
        if connection.dialect.name != "postgresql":
            return connection.execute(self.clause, values).rowcount
        compiled = self._for(connection.dialect, values)
        return int(run(connection, compiled.sql, _given(compiled, values)).rowcount)

    def _for(self, dialect: Dialect, values: Mapping[str, Any]) -> _Compiled:
        key = tuple(values)
        if key not in self._compiled:
            self._compiled[key] = _compile(self.clause, dialect, key)
        return self._compiled[key]


def _compile(clause: _Clause, dialect: Dialect, given: Sequence[str]) -> _Compiled:
    compiled: Any = clause.compile(dialect=dialect, column_keys=[*given])
    sql = _IN.sub(r" = ANY (%(\1)s)", _NOT_IN.sub(r" <> ALL (%(\1)s)", str(compiled)))
    to_database, constants = {}, {}
    for name, bind in compiled.binds.items():
        process = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if process is not None:
            to_database[name] = process
        if name not in given:
            if bind.required:
                raise LookupError(f"the statement lacks a value for {name}")
            constants[name] = process(bind.value) if process else bind.value
    columns = [*clause.exported_columns]
    # The driver returns numbers as they are.
    processors = [
        (column.key, column.type.dialect_impl(dialect).result_processor(dialect, None))
        for column in columns
        if not isinstance(column.type, Float | Numeric)
    ]
    return _Compiled(
        sql=sql,
        constants=constants,
        to_database=to_database,
        names=[column.key for column in columns],
        from_database=[(name, process) for name, process in processors if process],
    )


def _given(compiled: _Compiled, values: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {**compiled.constants, **values}
    for name, process in compiled.to_database.items():
        if name in values:
            given[name] = process(values[name])
    return given
