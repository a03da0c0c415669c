"""The runs that wait for a decision, lane by lane."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    Connection,
    Integer,
    bindparam,
    func,
    or_,
    select,
    union_all,
)

from actions.driver import Statement
from receiver.db.tables import runs
from receiver.runs.model import Run, State
from receiver.runs.store import from_row

_UNDECIDED = (State.RECEIVED, State.DECIDING)
_ORDER = (runs.c.priority, runs.c.received_at.desc())
# Built once, as the dispatcher asks for each lane.
_DUE = or_(runs.c.next_act_at.is_(None), runs.c.next_act_at <= bindparam("now"))
_IN_LANE = Statement(
    select(runs)
    .where(
        runs.c.state.in_(_UNDECIDED),
        runs.c.lane == bindparam("lane"),
        runs.c.id.not_in(bindparam("runs", expanding=True)),
        _DUE,
    )
    .order_by(*_ORDER)
    .limit(bindparam("limit", type_=Integer))
)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is not decided now: busy `lanes`, those of some `accounts`, and `runs` that rest."""

    lanes: Collection[str] = ()
    accounts: Collection[str] = ()
    runs: Collection[str] = ()


def first_lane(connection: Connection, left_out: LeftOut, now: float, limit: int) -> Sequence[Run]:
    """Undecided runs of one lane: the lane of the most severe, then newest, run.

    The most severe runs come first, the newest of them before older ones.
    """
    excluded = {name: [*values] for name, values in vars(left_out).items() if values}
    heads = _heads(frozenset(excluded)).rows(connection, {**excluded, "now": now})
    if not heads:
        return ()
    lane = min(heads, key=lambda row: (row["priority"], -row["received_at"]))["lane"]
    return in_lane(connection, lane, resting=left_out.runs, now=now, limit=limit)


@cache
def _heads(excluded: frozenset[str]) -> Statement:
    """The first run of each undecided state, but what is `excluded` by fields of `LeftOut`."""
    columns = {
        "lanes": runs.c.lane,
        # A lane begins with the account's number.
        "accounts": func.substr(runs.c.lane, 1, 12),
        "runs": runs.c.id,
    }
    others = [columns[name].not_in(bindparam(name, expanding=True)) for name in sorted(excluded)]
    # One state at a time, so that the index returns them in order.
    firsts = [
        select(runs.c.priority, runs.c.received_at, runs.c.lane)
        .where(runs.c.state == state, _DUE, *others)
        .order_by(*_ORDER)
        .limit(1)
        .subquery()
        for state in _UNDECIDED
    ]
    return Statement(union_all(*map(select, firsts)))


def in_lane(
    connection: Connection, lane: str, *, resting: Collection[str], now: float, limit: int
) -> Sequence[Run]:
    values = {"lane": lane, "runs": [*resting], "now": now, "limit": limit}
    return [from_row(row) for row in _IN_LANE.rows(connection, values)]
