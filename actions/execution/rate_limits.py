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

from actions.driver import Statement
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
_COUNTS = Statement(
    select(
        _since(attempts.c.target, "hour").label("target_hour"),
        _since(attempts.c.target, "day").label("target_day"),
        _since(attempts.c.group_name, "hour").label("group_hour"),
        _since(attempts.c.playbook, "hour").label("playbook_hour"),
    )
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
    return Attempts(**_COUNTS.rows(connection, values)[0])


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
    _adding(connection.dialect.name).count(connection, row)


@cache
def _adding(dialect: str) -> Statement:
    return Statement(insert_for(dialect, attempts).on_conflict_do_nothing())


def forget(connection: Connection, run_id: str, step: StepKey) -> None:
    """No longer count a step that never ran."""
    key = (attempts.c.run_id == run_id, attempts.c.step == step)
    connection.execute(delete(attempts).where(*key))


_RECORDED = select(intents.c.step).where(intents.c.run_id == bindparam("of"))
_FORGET_OTHERS = Statement(
    delete(attempts).where(attempts.c.run_id == bindparam("of"), attempts.c.step.not_in(_RECORDED))
)
_OF_RUN = Statement(select(attempts.c.step).where(attempts.c.run_id == bindparam("of")))


def forget_unrecorded(connection: Connection, run_id: str) -> None:
    """No longer count the run's steps of which the ledger has no record: nothing was sent."""
    _FORGET_OTHERS.count(connection, {"of": run_id})


def is_recorded(connection: Connection, run_id: str, step: StepKey | None = None) -> bool:
    """Whether the run's step, or with None any of its steps, was counted as an attempt."""
    recorded = [row["step"] for row in _OF_RUN.rows(connection, {"of": run_id})]
    return bool(recorded) if step is None else step in recorded
