"""The text by which a search finds a run, in a narrow table: a row of `runs` has the evidence.

It has the run's id, the values of its alert's labels, its target and group, the target's name and
address where a plan was made, its playbook, the reason of a refusal, and the people who had to do
with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, insert, update

from actions.driver import Statement
from receiver.db.tables import run_search, runs

_VALUE_MAX, _TEXT_MAX = 200, 4000
_TERMS_MAX = 8


def add_runs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make inserted rows of `runs` known to the search."""
    connection.execute(
        insert(run_search),
        [
            {
                "run_id": row["id"],
                "alertname": _plain(row["labels"].get("alertname", ""))[:_VALUE_MAX],
                "severity": _plain(row["labels"].get("severity", ""))[:_VALUE_MAX],
                "text": _text([row["id"], *row["labels"].values(), *_words_of(row)]),
            }
            for row in rows
        ],
    )


_ADD = Statement(
    update(run_search)
    .where(run_search.c.run_id == bindparam("of"))
    .values(text=run_search.c.text + bindparam("more"))
)


def add_changes(connection: Connection, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Make changed columns of runs, by run, and the `person` who changed them known to it."""
    added = {run_id: _words_of(changed) for run_id, changed in changes.items()}
    rows = [{"of": run_id, "more": _text(words)} for run_id, words in added.items() if words]
    if len(rows) > 1:
        connection.execute(_ADD.clause, rows)
    elif rows:
        _ADD.count(connection, rows[0])


def matches(text: str) -> ColumnElement[bool]:
    """Whether the run's text has every word, or part of a word, of this text."""
    return exists().where(
        run_search.c.run_id == runs.c.id,
        and_(*(run_search.c.text.contains(term, autoescape=True) for term in terms(text))),
    )


def terms(text: str) -> Sequence[str]:
    return _plain(text).lower().split()[:_TERMS_MAX]


def _words_of(changed: Mapping[str, Any]) -> Sequence[str]:
    names = ("target", "group_name", "playbook", "refusal", "person", "account", "region")
    words = [str(changed[name]) for name in names if changed.get(name)]
    if reason := changed.get("refusal"):
        words.append(str(reason).replace("_", " "))
    if plan := changed.get("plan"):
        words += [plan.consequences.name, plan.consequences.address]
    if request := changed.get("request"):
        words += [request.by, request.person]
    return words


def _text(words: Iterable[str]) -> str:
    """A line for each word, in small letters."""
    lines = dict.fromkeys(_plain(word).lower()[:_VALUE_MAX] for word in words)
    return "".join(f"{line}\n" for line in lines if line)[:_TEXT_MAX]


def _plain(text: str) -> str:
    """PostgreSQL stores neither NUL nor half a character."""
    return "".join(char if char.isprintable() else " " for char in text)
