"""The runs as they are kept: taken in, moved from state to state, listed."""

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from actions.audit import log
from actions.audit.log import canonical
from actions.aws.inventory import GROUP_NAME, INSTANCE_ID
from actions.execution import claims
from actions.tables import intents
from receiver.db.tables import runs
from receiver.runs.model import IN_FLIGHT, Run, State
from receiver.webhook.episodes import Waiting
from receiver.webhook.payload import Alert

ACTOR = "smartcloudops"


_JSON = (
    "labels",
    "annotations",
    "plan",
    "approval",
    "ending",
    "asked",
    "mark",
    "verdict",
    "gates",
    "evidence",
)
_LANES_WITHOUT_GROUP = 4
_ALERTING_MOST = 1000
_UNDECIDED = (State.RECEIVED, State.DECIDING)


def take_in(connection: Connection, waiting: Sequence[Waiting], now: float) -> None:
    """Alerts of the inbox become runs; those that already are stay as they are."""
    ids = [one.id for one in waiting]
    known = set(connection.scalars(select(runs.c.id).where(runs.c.id.in_(ids))))
    fresh = [one for one in waiting if one.id not in known]
    if not fresh:
        return
    connection.execute(insert(runs), [_row(one, now) for one in fresh])
    log.append(connection, now, *(_receipt(one) for one in fresh))


def fresh(waiting: Waiting, now: float) -> Run:
    """The run that an alert would become."""
    empty = dict.fromkeys((column.name for column in runs.c), None)
    return _run({**empty, **_row(waiting, now)})


def start(  # noqa: PLR0913 one argument a part of what was asked
    connection: Connection,
    run_id: str,
    labels: Mapping[str, str],
    asked: Mapping[str, Any],
    now: float,
    *,
    not_before: float | None = None,
) -> Run:
    """A run that a person asked for, in place of an alert, with its audit record.

    It is left alone until `not_before`. `asked` has `by`, `role`, `comment`, `playbook` and
    `dry_run`.
    """
    alert = Alert(
        key="",
        fingerprint="",
        firing=True,
        labels=labels,
        annotations={},
        starts_at=now,
        ends_at=None,
    )
    row = {
        **_row(Waiting(id=run_id, received_at=now, alert=alert), now),
        "asked": canonical(asked),
        "playbook": asked["playbook"],
        # Somebody waits for it.
        "priority": 0,
        "next_act_at": not_before,
    }
    connection.execute(insert(runs).values(row))
    detail = {key: value for key, value in asked.items() if key not in {"by", "role"}}
    event = log.Event(
        actor=asked["by"],
        event="run_started_by_a_person",
        run_id=run_id,
        detail=detail | {"labels": dict(labels)},
    )
    log.append(connection, now, event)
    empty = dict.fromkeys((column.name for column in runs.c), None)
    return _run({**empty, **row})


def mark(connection: Connection, run: Run, said: Mapping[str, Any], now: float) -> None:
    """Keep what a person says of the run: `right`, `by`, `comment` and `at`."""
    marked = update(runs).where(runs.c.id == run.id)
    connection.execute(marked.values(mark=canonical(said)))
    detail = {"right": said["right"], "comment": said["comment"]}
    event = log.Event(
        actor=said["by"], event="run_marked_by_a_person", run_id=run.id, detail=detail
    )
    log.append(connection, now, event)


def get(connection: Connection, run_id: str) -> Run | None:
    row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
    return None if row is None else _run(row)


def pending(
    connection: Connection,
    *,
    busy: Collection[str],
    resting: Collection[str],
    now: float,
    limit: int,
) -> Sequence[Run]:
    """Runs to decide on, all of one lane that is not busy: that of the most severe, and newest.

    Within it the most severe come first, then the newest.
    """
    order = (runs.c.priority, runs.c.received_at.desc())
    due = (
        runs.c.id.not_in(resting),
        or_(runs.c.next_act_at.is_(None), runs.c.next_act_at <= now),
    )
    # One state at a time, so that the index gives them in order.
    next_ones = [
        connection.execute(
            select(runs.c.priority, runs.c.received_at, runs.c.lane)
            .where(runs.c.state == state, runs.c.lane.not_in(busy), *due)
            .order_by(*order)
            .limit(1)
        ).one_or_none()
        for state in _UNDECIDED
    ]
    found = [row for row in next_ones if row is not None]
    if not found:
        return ()
    first = min(found, key=lambda row: (row.priority, -row.received_at))
    query = select(runs).where(runs.c.state.in_(_UNDECIDED), runs.c.lane == first.lane, *due)
    rows = connection.execute(query.order_by(*order).limit(limit)).mappings()
    return [_run(row) for row in rows]


def in_states(connection: Connection, states: Collection[State]) -> Sequence[Run]:
    query = select(runs).where(runs.c.state.in_(states)).order_by(runs.c.id)
    return [_run(row) for row in connection.execute(query).mappings()]


def among(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, Run]:
    """Those of the runs that there are, by id."""
    found = connection.execute(select(runs).where(runs.c.id.in_(run_ids))).mappings()
    return {row["id"]: _run(row) for row in found}


def alerting(connection: Connection, group: str, since: float) -> Mapping[str, str]:
    """Instances of the group whose alerts arrived since then, by run; not what was refuted.

    As many as tell a storm in the largest group: the newest alert of each instance before any
    second one, so that no instance with many alerts keeps the others from being counted.
    """
    newest_first = runs.c.received_at.desc()
    place = func.row_number().over(partition_by=runs.c.target, order_by=newest_first)
    found = select(runs.c.id, runs.c.target, runs.c.received_at, place.label("place")).where(
        runs.c.group_name == group,
        runs.c.received_at >= since,
        runs.c.target != group,
        # What a person asks for is no sign of a fault.
        runs.c.asked.is_(None),
        runs.c.state.not_in((State.SUCCEEDED, State.RESOLVED)),
        runs.c.refusal.is_distinct_from("verdict_refuted"),
    )
    each = found.subquery()
    query = select(each.c.id, each.c.target).order_by(each.c.place, each.c.received_at.desc())
    return {row.id: row.target for row in connection.execute(query.limit(_ALERTING_MOST))}


def caused_by(connection: Connection, run_id: str) -> Sequence[str]:
    """Runs whose alerts this run's own acts brought about, oldest first."""
    query = select(runs.c.id).where(runs.c.caused_by == run_id).order_by(runs.c.id)
    return connection.scalars(query).all()


def count(connection: Connection, states: Collection[State]) -> int:
    query = select(func.count()).select_from(runs).where(runs.c.state.in_(states))
    return connection.execute(query).scalar_one()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many runs of a playbook are in a state; `since`: when the first of them last moved."""

    playbook: str | None
    state: State
    count: int
    since: float


def standing(connection: Connection) -> Sequence[Standing]:
    """What has not ended, by playbook and state."""
    query = (
        select(
            runs.c.playbook,
            runs.c.state,
            func.count().label("how_many"),
            func.min(runs.c.updated_at).label("since"),
        )
        .where(runs.c.state.in_(IN_FLIGHT))
        .group_by(runs.c.playbook, runs.c.state)
    )
    return [
        Standing(playbook=row.playbook, state=State(row.state), count=row.how_many, since=row.since)
        for row in connection.execute(query)
    ]


def page(  # noqa: PLR0913 one argument a filter of the API
    connection: Connection,
    *,
    state: State | None = None,
    playbook: str | None = None,
    target: str | None = None,
    since: float | None = None,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[Run]:
    """Newest first, below run id `before`, without the evidence."""
    columns = [column for column in runs.c if column.name != "evidence"]
    query: Select[Any] = select(*columns).order_by(runs.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(runs.c.state == state)
    if playbook is not None:
        query = query.where(runs.c.playbook == playbook)
    if target is not None:
        of_step = exists().where(intents.c.run_id == runs.c.id, intents.c.target == target)
        query = query.where(or_(runs.c.target == target, of_step))
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    if before is not None:
        query = query.where(runs.c.id < before)
    rows = connection.execute(query).mappings()
    return [_run(dict(row) | {"evidence": None}) for row in rows]


def spoken_of(
    connection: Connection, *, since: float | None = None, before: str | None = None, limit: int
) -> Sequence[Run]:
    """Runs that people marked, approved or denied, newest first, below run id `before`."""
    query = (
        select(runs)
        .where(
            or_(
                runs.c.mark.is_not(None),
                runs.c.approval.is_not(None),
                # An approval that was used is a part of the plan.
                runs.c.plan.contains('"approval":{', autoescape=True),
            )
        )
        .order_by(runs.c.id.desc())
        .limit(limit)
    )
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    if before is not None:
        query = query.where(runs.c.id < before)
    return [_run(row) for row in connection.execute(query).mappings()]


@dataclass(frozen=True)
class Move:
    """Where a run is to go; `changes` are columns of runs."""

    run: Run
    state: State
    changes: Mapping[str, Any]


def move(
    connection: Connection,
    run: Run,
    state: State,
    now: float,
    **changes: Any,
) -> bool:
    """Move a run on, with its audit record; False where it has moved on from what `run` says.

    An ended run gives up its claims in the same transaction.
    """
    return bool(move_all(connection, [Move(run, state, changes)], now))


def move_all(connection: Connection, moves: Sequence[Move], now: float) -> Sequence[Move]:
    """Those of the moves that were made, as `move` makes each."""
    made = [one for one in moves if _moved(connection, one, now)]
    claims.release(connection, *(one.run.id for one in made if one.state.ended))
    log.append(connection, now, *(_event(one, now) for one in made))
    return made


# Of the run as it was known to be; made once, since each decision pays for it.
_UNMOVED = update(runs).where(
    runs.c.id == bindparam("was_id"),
    runs.c.state == bindparam("was_state"),
    runs.c.phase.is_not_distinct_from(bindparam("was_phase")),
    # It may have acted meanwhile, and be back where it was.
    runs.c.steps_begun == bindparam("was_begun"),
)


def _moved(connection: Connection, one: Move, now: float) -> bool:
    values = _values(one, now)
    stored = {k: canonical(v) if k in _JSON and v is not None else v for k, v in values.items()}
    was = {
        "was_id": one.run.id,
        "was_state": one.run.state,
        "was_phase": one.run.phase,
        "was_begun": one.run.steps_begun,
    }
    return connection.execute(_UNMOVED, {**was, **stored}).rowcount == 1


def _values(one: Move, now: float) -> dict[str, Any]:
    ended: Mapping[str, Any] = {"ended_at": now, "phase": None} if one.state.ended else {}
    return {"state": one.state, "updated_at": now, **one.changes, **ended}


def _event(one: Move, now: float) -> log.Event:
    told = _values(one, now).items()
    detail = {k: v for k, v in told if k not in {"updated_at", "evidence"}}
    return log.Event(actor=ACTOR, event=f"run_{one.state}", run_id=one.run.id, detail=detail)


def _row(waiting: Waiting, now: float) -> Mapping[str, Any]:
    alert = waiting.alert
    return {
        "id": waiting.id,
        "state": State.RECEIVED,
        "fingerprint": canonical(alert.fingerprint)[1:-1],
        "labels": canonical(alert.labels),
        "annotations": canonical(alert.annotations),
        "odd": alert.odd,
        "starts_at": alert.starts_at,
        "received_at": waiting.received_at,
        "priority": alert.priority,
        "lane": _lane(waiting),
        **_named(alert),
        "gates": "[]",
        "steps_begun": 0,
        "next_rung": 0,
        "updated_at": now,
    }


def _named(alert: Alert) -> Mapping[str, str | None]:
    """The target as far as the labels alone tell it."""
    instance_id, group = alert.labels.get("instance_id", ""), alert.labels.get("asg", "")
    known = group if GROUP_NAME.fullmatch(group) else None
    if INSTANCE_ID.fullmatch(instance_id):
        return {"target": instance_id, "group_name": known}
    return {"target": known if not instance_id else None, "group_name": known}


def _lane(waiting: Waiting) -> str:
    """What is decided on one after the other: a group's alerts, or a share of those without one."""
    group = waiting.alert.labels.get("asg", "")
    # Any other text may be one that PostgreSQL keeps nowhere.
    known = group if GROUP_NAME.fullmatch(group) else ""
    return known[:255] or f"#{zlib.crc32(waiting.id.encode()) % _LANES_WITHOUT_GROUP}"


def _receipt(waiting: Waiting) -> log.Event:
    return log.Event(
        actor="alertmanager",
        event="alert_received",
        run_id=waiting.id,
        detail={"received_at": waiting.received_at, **_alert(waiting.alert)},
    )


def _alert(alert: Alert) -> Mapping[str, Any]:
    return {key: value for key, value in vars(alert).items() if value is not None}


def _run(row: RowMapping | Mapping[str, Any]) -> Run:
    loaded = {key: json.loads(text) for key in _JSON if (text := row[key]) is not None}
    fingerprint = json.loads(f'"{row["fingerprint"]}"')
    return Run(**(dict(row) | loaded | {"state": State(row["state"]), "fingerprint": fingerprint}))
