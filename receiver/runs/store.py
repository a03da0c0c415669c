"""Reads stored runs: by id, by state, by filter."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    Connection,
    Integer,
    RowMapping,
    bindparam,
    case,
    func,
    or_,
    select,
)

from actions.driver import Statement
from actions.place import Place
from actions.reasons import Reason
from actions.tables import is_at_given
from receiver.db.tables import runs
from receiver.runs.model import IN_FLIGHT, Run, State

# The most alerts returned by `alerting_instances`, unless a group has more members.
ALERTING_MAX = 1000
# An alert with one of these refusals does not indicate a fault of its target.
_NO_FAULT = (
    Reason.MALFORMED_ALERT,
    Reason.NO_PLAYBOOK,
    Reason.AMBIGUOUS_PLAYBOOK,
    Reason.NO_TARGET,
    Reason.STALE,
    Reason.RESOLVED,
    Reason.TARGET_UNPROVEN,
    Reason.VERDICT_REFUTED,
)
_RUN = TypeAdapter(Run)
# Built once, as each phase and step runs it.
_GET = Statement(select(runs).where(runs.c.id == bindparam("run_id")))
_GET_AT_WORK = Statement(
    select(*(column for column in runs.c if column.name != "evidence")).where(
        runs.c.id == bindparam("run_id")
    )
)


def get(connection: Connection, run_id: str) -> Run | None:
    row = _GET.row(connection, {"run_id": run_id})
    return None if row is None else from_row(row)


def get_at_work(connection: Connection, run_id: str) -> Run | None:
    """As `get`, without the evidence, which is long, and of which no step asks."""
    row = _GET_AT_WORK.row(connection, {"run_id": run_id})
    return None if row is None else from_row(row | {"evidence": None})


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


@dataclass(frozen=True, kw_only=True)
class AlertingInstance:
    """A reported alert; `judged`: a decision confirmed its instance, and did not refute it."""

    run_id: str
    instance_id: str
    labels: Mapping[str, str]
    judged: bool


def waiting_without_target(connection: Connection, since: float, limit: int) -> Sequence[Run]:
    """Undecided alerts since then (epoch seconds) whose labels alone do not name their target."""
    query = select(runs).where(
        runs.c.state == State.RECEIVED,
        runs.c.target.is_(None),
        runs.c.malformed.is_(None),
        runs.c.request.is_(None),
        runs.c.received_at >= since,
    )
    rows = connection.execute(query.order_by(runs.c.received_at).limit(limit)).mappings()
    return [from_row(row) for row in rows]


def alerting_instances(
    connection: Connection,
    place: Place,
    group: str | None,
    since: float,
    *,
    among: Collection[str] | None = None,
) -> Sequence[AlertingInstance]:
    """Instances of the place's group, or outside groups, with an alert since then (epoch s).

    At most ALERTING_MAX alerts are returned, or as many as instances are named by `among`, which
    narrows them. Judged alerts come first, and the newest alert of every instance comes before any
    second one, so that an instance with many alerts does not displace the others.
    """
    most = ALERTING_MAX if among is None else max(ALERTING_MAX, len(among))
    values = {
        **vars(place),
        "group_name": group,
        "since": since,
        "among": [*(among or ())],
        "most": most,
    }
    rows = _alerting(among is not None).rows(connection, values)
    return [
        AlertingInstance(
            run_id=row["id"],
            instance_id=row["target"],
            labels=row["labels"],
            judged=row["judged"],
        )
        for row in rows
    ]


@cache
def _alerting(narrowed: bool) -> Statement:  # noqa: FBT001 a key of the cache
    judged = runs.c.verdict.is_not(None)
    newest_first = runs.c.received_at.desc()
    rank = func.row_number().over(
        partition_by=runs.c.target, order_by=(judged.desc(), newest_first)
    )
    columns = (runs.c.id, runs.c.target, runs.c.labels, runs.c.received_at)
    alerts = select(*columns, judged.label("judged"), rank.label("rank")).where(
        # Where an undecided alert is, is not known yet; AWS tells which instances are members.
        or_(runs.c.account.is_(None), is_at_given(runs)),
        runs.c.group_name.is_not_distinct_from(bindparam("group_name")),
        runs.c.received_at >= bindparam("since"),
        # A malformed id identifies no instance.
        runs.c.target.is_not(None),
        runs.c.target.is_distinct_from(bindparam("group_name")),
        # A manual run does not indicate a fault.
        runs.c.request.is_(None),
        runs.c.state.not_in((State.SUCCEEDED, State.RESOLVED)),
        or_(runs.c.refusal.is_(None), runs.c.refusal.not_in(_NO_FAULT)),
    )
    if narrowed:
        alerts = alerts.where(runs.c.target.in_(bindparam("among", expanding=True)))
    ranked = alerts.subquery()
    order = (ranked.c.judged.desc(), ranked.c.rank, ranked.c.received_at.desc())
    query = select(ranked.c.id, ranked.c.target, ranked.c.labels, ranked.c.judged).order_by(*order)
    return Statement(query.limit(bindparam("most", type_=Integer)))


def caused_by(connection: Connection, run_id: str) -> Sequence[str]:
    """Ids of the runs whose alerts this run's own steps caused, oldest first."""
    query = select(runs.c.id).where(runs.c.caused_by == run_id).order_by(runs.c.id)
    return connection.scalars(query).all()


def count(connection: Connection, states: Collection[State]) -> int:
    query = select(func.count()).select_from(runs).where(runs.c.state.in_(states))
    return connection.execute(query).scalar_one()


@dataclass(frozen=True, kw_only=True)
class InFlightCount:
    """The number of a playbook's runs in a state; none of them is due since before `since`."""

    playbook: str | None
    state: State
    count: int
    since: float


def count_in_flight(connection: Connection) -> Sequence[InFlightCount]:
    """Runs that have not ended, by playbook and state.

    One that is to be decided later, such as one that is held out, is not stuck until then.
    """
    undecided = runs.c.state.in_([State.RECEIVED, State.DECIDING])
    later = undecided & (runs.c.next_act_at > runs.c.updated_at)
    since = case((later, runs.c.next_act_at), else_=runs.c.updated_at)
    query = (
        select(
            runs.c.playbook,
            runs.c.state,
            func.count().label("runs"),
            func.min(since).label("since"),
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
