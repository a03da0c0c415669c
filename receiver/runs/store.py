"""Reads stored runs: by id, by state, by filter."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, Select, case, exists, func, or_, select

from actions.tables import intents
from receiver.db.tables import has_feedback, runs
from receiver.runs.model import IN_FLIGHT, Run, State

_ALERTING_MAX = 1000
_UNDECIDED = (State.RECEIVED, State.DECIDING)
_RUN = TypeAdapter(Run)


def get(connection: Connection, run_id: str) -> Run | None:
    row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
    return None if row is None else from_row(row)


def pending(
    connection: Connection,
    *,
    busy: Collection[str],
    resting: Collection[str],
    now: float,
    limit: int,
) -> Sequence[Run]:
    """Undecided runs of one lane: the lane of the most severe, then newest, run.

    The most severe runs come first, the newest of them before older ones. `busy` lanes and
    `resting` runs are left out.
    """
    order = (runs.c.priority, runs.c.received_at.desc())
    due = (
        runs.c.id.not_in(resting),
        or_(runs.c.next_act_at.is_(None), runs.c.next_act_at <= now),
    )
    # One state at a time, so that the index returns them in order.
    heads = [
        connection.execute(
            select(runs.c.priority, runs.c.received_at, runs.c.lane)
            .where(runs.c.state == state, runs.c.lane.not_in(busy), *due)
            .order_by(*order)
            .limit(1)
        ).one_or_none()
        for state in _UNDECIDED
    ]
    candidates = [row for row in heads if row is not None]
    if not candidates:
        return ()
    first = min(candidates, key=lambda row: (row.priority, -row.received_at))
    query = select(runs).where(runs.c.state.in_(_UNDECIDED), runs.c.lane == first.lane, *due)
    rows = connection.execute(query.order_by(*order).limit(limit)).mappings()
    return [from_row(row) for row in rows]


def with_overdue_phase(connection: Connection, *, before: float) -> Sequence[Run]:
    """Runs whose phase was due before then: a plan's expiry at its time, any other at once."""
    waits = runs.c.state == State.AWAITING_APPROVAL
    due = case((waits, runs.c.next_act_at), else_=runs.c.updated_at)
    query = select(runs).where(runs.c.state.in_(IN_FLIGHT), runs.c.phase.is_not(None), due < before)
    return [from_row(row) for row in connection.execute(query).mappings()]


def by_ids(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, Run]:
    """The existing runs among these ids, by id."""
    rows = connection.execute(select(runs).where(runs.c.id.in_(run_ids))).mappings()
    return {row["id"]: from_row(row) for row in rows}


def existing_ids(connection: Connection, run_ids: Sequence[str]) -> frozenset[str]:
    """The ids among these that runs have."""
    return frozenset(connection.scalars(select(runs.c.id).where(runs.c.id.in_(run_ids))))


def alerting_instances(connection: Connection, group: str, since: float) -> Mapping[str, str]:
    """Instances of the group with an alert since `since` (epoch seconds), by run.

    Runs with a refuted verdict are left out. The number of runs returned is bounded by what shows a
    storm in the largest group. The newest alert of every instance comes first, so that one instance
    with many alerts does not displace the others.
    """
    newest_first = runs.c.received_at.desc()
    place = func.row_number().over(partition_by=runs.c.target, order_by=newest_first)
    alerts = select(runs.c.id, runs.c.target, runs.c.received_at, place.label("place")).where(
        runs.c.group_name == group,
        runs.c.received_at >= since,
        runs.c.target != group,
        # A manual run does not indicate a fault.
        runs.c.request.is_(None),
        runs.c.state.not_in((State.SUCCEEDED, State.RESOLVED)),
        runs.c.refusal.is_distinct_from("verdict_refuted"),
    )
    ranked = alerts.subquery()
    newest = ranked.c.received_at.desc()
    query = select(ranked.c.id, ranked.c.target).order_by(ranked.c.place, newest)
    return {row.id: row.target for row in connection.execute(query.limit(_ALERTING_MAX))}


def caused_by(connection: Connection, run_id: str) -> Sequence[str]:
    """Ids of the runs whose alerts this run's own steps caused, oldest first."""
    query = select(runs.c.id).where(runs.c.caused_by == run_id).order_by(runs.c.id)
    return connection.scalars(query).all()


def count(connection: Connection, states: Collection[State]) -> int:
    query = select(func.count()).select_from(runs).where(runs.c.state.in_(states))
    return connection.execute(query).scalar_one()


@dataclass(frozen=True, kw_only=True)
class InFlightCount:
    """The number of a playbook's runs in a state; none of them was changed before `since`."""

    playbook: str | None
    state: State
    count: int
    since: float


def count_in_flight(connection: Connection) -> Sequence[InFlightCount]:
    """Runs that have not ended, by playbook and state."""
    query = (
        select(
            runs.c.playbook,
            runs.c.state,
            func.count().label("runs"),
            func.min(runs.c.updated_at).label("since"),
        )
        .where(runs.c.state.in_(IN_FLIGHT))
        .group_by(runs.c.playbook, runs.c.state)
    )
    return [
        InFlightCount(
            playbook=row.playbook, state=State(row.state), count=row.runs, since=row.since
        )
        for row in connection.execute(query)
    ]


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """A filter of runs; `target` is the alert's target or a step's. None means any."""

    state: State | None = None
    playbook: str | None = None
    target: str | None = None
    since: float | None = None


_ANY = RunFilter()


def list_runs(
    connection: Connection,
    wanted: RunFilter = _ANY,
    *,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[Run]:
    """The matching runs without evidence, newest first, below run id `before`."""
    columns = [column for column in runs.c if column.name != "evidence"]
    query: Select[Any] = select(*columns).order_by(runs.c.id.desc()).limit(limit)
    if wanted.state is not None:
        query = query.where(runs.c.state == wanted.state)
    if wanted.playbook is not None:
        query = query.where(runs.c.playbook == wanted.playbook)
    if wanted.target is not None:
        target = wanted.target
        of_step = exists().where(intents.c.run_id == runs.c.id, intents.c.target == target)
        query = query.where(or_(runs.c.target == target, of_step))
    if wanted.since is not None:
        query = query.where(runs.c.received_at >= wanted.since)
    if before is not None:
        query = query.where(runs.c.id < before)
    rows = connection.execute(query).mappings()
    return [from_row(dict(row) | {"evidence": None}) for row in rows]


def with_human_verdict(
    connection: Connection, *, since: float | None = None, before: str | None = None, limit: int
) -> Sequence[Run]:
    """Runs with feedback, an approval or a denial, newest first, below run id `before`."""
    query = select(runs).where(has_feedback).order_by(runs.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    if before is not None:
        query = query.where(runs.c.id < before)
    return [from_row(row) for row in connection.execute(query).mappings()]


def from_row(row: RowMapping | Mapping[str, Any]) -> Run:
    return _RUN.validate_python(dict(row))


def to_row(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns to store: each record, and copies of those of its fields that searches use."""
    row = dict(changes)
    if "plan" in row:
        row["playbook_digest"] = row["plan"] and row["plan"].playbook_digest
    if "approval" in row:
        row["approved"] = row["approval"] and not row["approval"].denied
    if "mark" in row:
        row["marked_right"] = row["mark"] and row["mark"].right
    if "request" in row:
        row["dry_run"] = row["request"].dry_run
    return row
