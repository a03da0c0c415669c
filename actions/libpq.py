"""Runs statements of PostgreSQL by libpq itself: a cursor of psycopg takes three times as long.

psycopg converts values and rows. A connection must not be used by two threads at once, nor prepare
statements itself: after a rollback it would remove those of this module.
"""

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, TypeAlias

from psycopg import Connection, OperationalError
from psycopg.abc import Transformer as AnyTransformer
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

# An act alone runs more statements than psycopg would keep prepared.
_PREPARED_MAX = 1000
_PLACEHOLDER = re.compile(r"%%|%(?:\((\w+)\))?s")
_NUMBERS = count()
_DONE = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})
# Another process changed the tables since the statement was prepared.
_OUTDATED = b"0A000"

# Names of prepared statements, by text and the types of the values.
Prepared: TypeAlias = MutableMapping[tuple[str, Sequence[int]], bytes]


@dataclass(frozen=True)
class Answer:
    """The answer of the last statement, as a cursor has it."""

    result: PGresult
    transformer: AnyTransformer

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if not self.result.nfields:
            return iter(())
        self.transformer.set_pgresult(self.result)
        return iter(self.transformer.load_rows(0, self.result.ntuples, tuple))

    @property
    def rowcount(self) -> int:
        return self.result.command_tuples or 0


def execute(driver: Connection[Any], sql: str) -> Answer:
    """Run statements without values. Raises psycopg's errors."""
    return _answer(driver, driver.pgconn.exec_(sql.encode()), Transformer(driver))


def execute_prepared(
    driver: Connection[Any],
    prepared: Prepared,
    sql: str,
    values: Mapping[str, Any] | Sequence[Any],
) -> Answer:
    """Run one statement with values. Raises psycopg's errors."""
    numbered, names = _numbered(sql)
    given = [values[name] for name in names] if isinstance(values, Mapping) else values
    transformer = Transformer(driver)
    sent: Any = transformer.dump_sequence(given, [PyFormat.AUTO] * len(given))
    key = sql, transformer.types or ()
    if key not in prepared:
        _prepare(driver, prepared, key, numbered)
    result = driver.pgconn.exec_prepared(prepared[key], sent, transformer.formats)
    if result.status not in _DONE and result.error_field(DiagnosticField.SQLSTATE) == _OUTDATED:
        del prepared[key]
    return _answer(driver, result, transformer)


def _prepare(
    driver: Connection[Any], prepared: Prepared, key: tuple[str, Sequence[int]], numbered: bytes
) -> None:
    if len(prepared) >= _PREPARED_MAX:
        execute(driver, "DEALLOCATE ALL")
        prepared.clear()
    # The server keeps the name of an outdated one.
    name = f"statement_{next(_NUMBERS)}".encode()
    _answer(driver, driver.pgconn.prepare(name, numbered, key[1]), Transformer(driver))
    prepared[key] = name


@lru_cache(maxsize=10_000)
def _numbered(sql: str) -> tuple[bytes, Sequence[str]]:
    """The statement with numbered placeholders, and the names of its values in their order."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        name = found[1] or str(len(names))
        return f"${names.setdefault(name, len(names) + 1)}"

    return _PLACEHOLDER.sub(number, sql).encode(), tuple(names)


def _answer(driver: Connection[Any], result: PGresult, transformer: AnyTransformer) -> Answer:
    if result.status in _DONE:
        return Answer(result, transformer)
    told = result.error_field(DiagnosticField.SQLSTATE)
    if told is None and driver.pgconn.status == ConnStatus.BAD:
        raise OperationalError(result.get_error_message())
    raise error_from_result(result, driver.info.encoding)
