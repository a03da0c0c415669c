"""Rate limits: how often runs may act on a target, in a group, and by a playbook.

Endless successful remediation hides a real fault: beyond these limits a person is called.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Double,
    ScalarSelect,
    String,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from actions.execution.records import Attempts
from actions.place import Place
from actions.step_key import StepKey
from actions.tables import attempts, insert_for, intents

HOUR_S, DAY_S = 3_600.0, 86_400.0


def _since(column: Column[Any], moment: str) -> ScalarSelect[int]:
    query = select(func.count()).select_from(attempts)
    matches = [
        each == bindparam(each.name, type_=String)
        for each in (column, attempts.c.account, attempts.c.region)
    ]
    return query.where(*matches, attempts.c.at > bindparam(moment, type_=Double)).scalar_subquery()


# One statement for all four counts, because every step waits for it twice.
_COUNTS = select(
    _since(attempts.c.target, "hour").label("target_hour"),
    _since(attempts.c.target, "day").label("target_day"),
    _since(attempts.c.group_name, "hour").label("group_hour"),
    _since(attempts.c.playbook, "hour").label("playbook_hour"),
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A step that counts towards the rate limits; `at` is its claim, in epoch seconds."""

    run_id: str
    step: StepKey
    place: Place
    target: str
    group: str
    playbook: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the attempts are counted of, all in one place."""

    place: Place
    target: str
    group: str
    playbook: str


def count(connection: Connection, of: Counted, now: float) -> Attempts:
    """Attempts of the last hour and day; a target without a group has no group attempts."""
    values = {
        **vars(of.place),
        "target": of.target,
        # NULL equals nothing, so that targets without a group are not counted together.
        "group_name": of.group or None,
        "playbook": of.playbook,
        "hour": now - HOUR_S,
        "day": now - DAY_S,
    }
    return Attempts(**connection.execute(_COUNTS, values).mappings().one())


def record(connection: Connection, attempt: Attempt) -> None:
    """Count one more attempt; a step counts once, however often its target is claimed."""
    row = {
        "run_id": attempt.run_id,
        "step": attempt.step,
        "target": attempt.target,
        "group_name": attempt.group,
        "playbook": attempt.playbook,
        "at": attempt.at,
        **vars(attempt.place),
    }
    connection.execute(_adding(connection.dialect.name), row)


@cache
def _adding(dialect: str) -> sqlite.Insert | postgresql.Insert:
    return insert_for(dialect, attempts).on_conflict_do_nothing()


def forget(connection: Connection, run_id: str, step: StepKey) -> None:
    """No longer count a step that never ran."""
    key = (attempts.c.run_id == run_id, attempts.c.step == step)
    connection.execute(delete(attempts).where(*key))


def forget_unrecorded(connection: Connection, run_id: str) -> None:
    """No longer count the run's steps of which the ledger has no record: nothing was sent."""
    recorded = select(intents.c.step).where(intents.c.run_id == run_id)
    key = (attempts.c.run_id == run_id, attempts.c.step.not_in(recorded))
    connection.execute(delete(attempts).where(*key))


def is_recorded(connection: Connection, run_id: str, step: StepKey | None = None) -> bool:
    """Whether the run's step, or with None any of its steps, was counted as an attempt."""
    query = select(attempts.c.step).where(attempts.c.run_id == run_id)
    if step is not None:
        query = query.where(attempts.c.step == step)
    return connection.execute(query.limit(1)).first() is not None
