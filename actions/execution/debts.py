"""What a run has lent or must roll back, until AWS shows that it is given back.

A debt is recorded with the intent of its step, before the call, so that a call without an answer is
one, too. It outlives its run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)

from actions.audit import log
from actions.driver import Statement
from actions.execution.ledger import Intent
from actions.step_key import StepKey
from actions.tables import debts, insert_into, intents

_ACTOR = "smartcloudops"
_STOPPED = "a person stopped its rollback"


class DebtState(StrEnum):
    LENT = "lent"  # the run is at work, or gives back itself
    DUE = "due"  # the run has ended; it is tried again until AWS shows it given back
    NEEDS_PERSON = "needs_person"  # giving it back would do harm, or is no longer known


class Settled(StrEnum):
    """How a debt ended."""

    GIVEN_BACK = "given back"
    NEVER_LENT = "never lent"
    CHANGED = "changed by others"
    GONE = "the target is gone"
    STOPPED = "stopped by a person"
    UNKNOWN = "the catalogue no longer has the action"


@dataclass(frozen=True, kw_only=True)
class Debt:
    """What `step` of the run lent at `since`. `problem` is why it is not given back yet."""

    run_id: str
    step: StepKey
    action: str
    target: str
    since: float
    ended_at: float | None = None
    next_at: float | None = None
    attempts: int = 0
    problem: str | None = None
    needs_person: bool = False
    account: str = ""
    region: str = ""

    @property
    def state(self) -> DebtState:
        if self.needs_person:
            return DebtState.NEEDS_PERSON
        return DebtState.LENT if self.ended_at is None else DebtState.DUE


def open_debt(connection: Connection, intent: Intent) -> None:
    """Record what the step lends, or hand it to its run, which gives it back."""
    debt = Debt(
        run_id=intent.run_id,
        step=intent.step,
        action=intent.action,
        target=intent.target,
        since=intent.dispatched_at or intent.started_at,
        account=intent.account,
        region=intent.region,
    )
    of_run = {"ended_at": None, "next_at": None}
    statement = insert_into(connection, debts).values(vars(debt))
    connection.execute(
        statement.on_conflict_do_update(index_elements=debts.primary_key.columns, set_=of_run)
    )


def read_debt(connection: Connection, run_id: str, step: StepKey) -> Debt | None:
    row = connection.execute(select(debts).where(*_key(run_id, step))).mappings().one_or_none()
    return None if row is None else _debt(row)


def list_open(connection: Connection) -> Sequence[Debt]:
    """All debts, oldest first."""
    query = select(debts).order_by(debts.c.since, debts.c.run_id, debts.c.step)
    return [_debt(row) for row in connection.execute(query).mappings()]


def list_due(connection: Connection, now: float) -> Sequence[Debt]:
    """Debts of ended runs that are to be tried now, the longest waiting first."""
    query = select(debts).where(debts.c.next_at <= now).order_by(debts.c.next_at)
    return [_debt(row) for row in connection.execute(query).mappings()]


# Built once, as each run that ends runs it.
_OF_RUNS = debts.c.run_id.in_(bindparam("run_ids", expanding=True))
_RELEASE = Statement(update(debts).where(_OF_RUNS))
_BY_RUNS = Statement(select(debts).where(_OF_RUNS))


def release(connection: Connection, run_ids: Sequence[str], now: float, next_at: float) -> None:
    """The runs end: their debts are due from `next_at` on."""
    _RELEASE.count(connection, {"run_ids": [*run_ids], "ended_at": now, "next_at": next_at})


def postpone(connection: Connection, debt: Debt, tried: Debt, now: float) -> None:
    """Record a failed attempt: `tried` is the debt after it. A new problem is audited."""
    values = {
        "attempts": tried.attempts,
        "problem": tried.problem,
        "needs_person": tried.needs_person,
        "next_at": tried.next_at,
    }
    statement = update(debts).where(*_key(debt.run_id, debt.step)).values(values)
    told = (debt.problem, debt.needs_person) == (tried.problem, tried.needs_person)
    # A run tells of its own attempts itself.
    if connection.execute(statement).rowcount and debt.ended_at is not None and not told:
        _record(connection, tried, "debt_owed", now, problem=tried.problem)


def settle(connection: Connection, debt: Debt, how: Settled, now: float) -> None:
    """End a debt, with its audit record."""
    if connection.execute(delete(debts).where(*_key(debt.run_id, debt.step))).rowcount:
        _record(connection, debt, "debt_settled", now, how=how)


def stop(
    connection: Connection, run_ids: Sequence[str], leases: Collection[str], now: float
) -> None:
    """End the debts of runs whose rollback a person stopped.

    What the actions `leases` lent is left as it is, too, but stays owed: nobody else would know.
    """
    for debt in map(_debt, _BY_RUNS.rows(connection, {"run_ids": [*run_ids]})):
        if debt.action in leases:
            kept = replace(debt, problem=_STOPPED, needs_person=True, next_at=None)
            postpone(connection, debt, kept, now)
        else:
            settle(connection, debt, Settled.STOPPED, now)


@dataclass(frozen=True, kw_only=True)
class DebtCount:
    """The number of debts in each state, and the age of the oldest whose run has ended, in s."""

    by_state: Mapping[DebtState, int]
    oldest_s: float


def count(connection: Connection, now: float) -> DebtCount:
    by_state = dict.fromkeys(DebtState, 0)
    oldest = now
    query = select(debts.c.ended_at.is_(None), debts.c.needs_person, func.count()).group_by(
        debts.c.ended_at.is_(None), debts.c.needs_person
    )
    for lent, person, number in connection.execute(query):
        state = DebtState.LENT if lent else DebtState.DUE
        by_state[DebtState.NEEDS_PERSON if person else state] += number
    first = connection.execute(select(func.min(debts.c.ended_at))).scalar_one()
    oldest = now if first is None else first
    return DebtCount(by_state=by_state, oldest_s=max(0.0, now - oldest))


_LENT = Statement(
    select(debts.c.run_id, intents.c.before)
    .join(intents, and_(intents.c.run_id == debts.c.run_id, intents.c.step == debts.c.step))
    .where(_OF_RUNS)
)


def processes_lent(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """The processes of Auto Scaling that each run keeps suspended at present."""
    lent: dict[str, frozenset[str]] = {}
    for row in _LENT.rows(connection, {"run_ids": [*run_ids]}):
        processes = (row["before"] or {}).get("processes", ())
        lent[row["run_id"]] = lent.get(row["run_id"], frozenset()) | {*processes}
    return lent


def _key(run_id: str, step: StepKey) -> tuple[ColumnElement[bool], ...]:
    return (and_(debts.c.run_id == run_id, debts.c.step == step),)


def _record(connection: Connection, debt: Debt, event: str, now: float, **more: Any) -> None:
    detail = {"step": debt.step, "action": debt.action, "target": debt.target, **more}
    if debt.needs_person:
        detail["needs_person"] = True
    log.append(
        connection,
        now,
        log.Event(actor=_ACTOR, event=event, run_id=debt.run_id, detail=detail),
    )


def _debt(row: Mapping[str, Any] | RowMapping) -> Debt:
    return Debt(**row)
