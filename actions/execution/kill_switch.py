"""The kill switch: while it is on, no new step is executed.

A rollback and an escalation limit the damage of earlier steps: only an admin's pause of everything
stops them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, delete, exists, or_, select, update

from actions.audit import log
from actions.driver import Statement
from actions.place import HOME, Place
from actions.tables import insert_into, is_at, pauses, switch


@dataclass(frozen=True, kw_only=True)
class Switch:
    """`distrusted`: the service paused itself, as its records cannot be trusted."""

    paused: bool
    everything: bool = False
    distrusted: bool = False
    comment: str
    changed_by: str
    changed_at: float


# Built once, as each step asks several times.
_PAUSED = Statement(select(switch.c.paused))
_LOCKED = Statement(select(switch.c.paused).with_for_update())
_STOPPED_AT = (
    exists()
    .where(
        or_(pauses.c.account == "", pauses.c.account == bindparam("account")),
        or_(pauses.c.region == "", pauses.c.region == bindparam("region")),
    )
    .label("stopped")
)
_STOPPED = Statement(select(_STOPPED_AT))
_PAUSED_AT = Statement(select(switch.c.paused, _STOPPED_AT))


def read_switch(connection: Connection) -> Switch | None:
    """The state of the switch; None is unknown, and counts as paused."""
    row = connection.execute(select(switch)).mappings().one_or_none()
    return None if row is None else Switch(**{key: row[key] for key in row if key != "id"})


def read_paused(connection: Connection, place: Place, *, lock: bool = False) -> bool | None:
    """Whether everything is paused, or this place; None is unknown, and counts as paused.

    `lock` keeps the row locked to the end of the transaction: claims are serialised by it.
    """
    if place != HOME and not lock:
        row = _PAUSED_AT.row(connection, vars(place))
        return None if row is None else bool(row["paused"] or row["stopped"])
    row = (_LOCKED if lock else _PAUSED).row(connection, {})
    if row is None or row["paused"] or place == HOME:
        return None if row is None else bool(row["paused"])
    return bool(_STOPPED.rows(connection, vars(place))[0]["stopped"])


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A pause of an account, of a region, or of a region of an account; empty means every one."""

    account: str
    region: str
    comment: str
    changed_by: str
    changed_at: float

    def stops(self, place: Place) -> bool:
        return self.account in {"", place.account} and self.region in {"", place.region}


def list_pauses(connection: Connection) -> Sequence[Pause]:
    """All pauses of places, without that of everything."""
    query = select(pauses).order_by(pauses.c.account, pauses.c.region)
    return [Pause(**row) for row in connection.execute(query).mappings()]


def set_paused_at(connection: Connection, change: Pause, *, paused: bool) -> None:
    """Pause or resume an account, a region or both, with its audit record.

    Resuming ends this very pause: a wider one goes on.
    """
    place = Place(change.account, change.region)
    connection.execute(delete(pauses).where(is_at(pauses, place)))
    if paused:
        connection.execute(insert_into(connection, pauses).values(vars(change)))
    named = {name: value for name, value in vars(place).items() if value}
    event = log.Event(
        actor=change.changed_by,
        event="paused" if paused else "resumed",
        detail={"comment": change.comment, **named},
    )
    log.append(connection, change.changed_at, event)


def stops_everything(connection: Connection) -> bool:
    """Whether rollbacks and escalations are stopped, too."""
    state = read_switch(connection)
    return state is not None and state.paused and state.everything


def why_distrusted(connection: Connection) -> str | None:
    """Why the records cannot be trusted, or None."""
    state = read_switch(connection)
    return state.comment if state is not None and state.distrusted else None


def set_paused(
    connection: Connection, *, paused: bool, by: str, comment: str, now: float
) -> Switch:
    """Pause or resume, with its audit record.

    Only resuming ends a pause of everything, or a pause for distrust, which keeps its comment.
    """
    return _change(
        connection, Switch(paused=paused, comment=comment, changed_by=by, changed_at=now)
    )


def pause_everything(connection: Connection, *, by: str, comment: str, now: float) -> Switch:
    """Pause, and stop rollbacks and escalations, too, with its audit record."""
    return _change(
        connection,
        Switch(paused=True, everything=True, comment=comment, changed_by=by, changed_at=now),
    )


def _change(connection: Connection, state: Switch) -> Switch:
    before, comment = read_switch(connection), state.comment
    if state.paused and before is not None and before.paused:
        state = replace(
            state,
            everything=state.everything or before.everything,
            distrusted=before.distrusted,
            comment=before.comment if before.distrusted else comment,
        )
    return _store(connection, state, comment)


def distrust(
    connection: Connection, why: str, now: float, *, everything: bool, **detail: object
) -> None:
    """Pause until an admin resumes. The first reason stays; `detail` goes into the audit."""
    before = read_switch(connection)
    if before is not None and before.distrusted:
        return
    state = Switch(
        paused=True,
        everything=everything or stops_everything(connection),
        distrusted=True,
        comment=why,
        changed_by="smartcloudops",
        changed_at=now,
    )
    _store(connection, state, why, **detail)


def _store(connection: Connection, state: Switch, comment: str, **more: object) -> Switch:
    connection.execute(update(switch).values(vars(state)))
    set_by_name = {name: True for name in ("everything", "distrusted") if getattr(state, name)}
    event = "paused" if state.paused else "resumed"
    detail = {"comment": comment, **set_by_name, **more}
    log.append(
        connection, state.changed_at, log.Event(actor=state.changed_by, event=event, detail=detail)
    )
    return state
