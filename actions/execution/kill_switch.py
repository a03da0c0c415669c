"""The kill switch: while it is on, no step is executed."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from actions.audit import log
from actions.tables import switch


@dataclass(frozen=True, kw_only=True)
class Switch:
    paused: bool
    comment: str
    changed_by: str
    changed_at: float


def read_switch(connection: Connection) -> Switch | None:
    """The state of the switch; None is unknown, and counts as paused."""
    row = connection.execute(select(switch)).one_or_none()
    if row is None:
        return None
    return Switch(
        paused=row.paused,
        comment=row.comment,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
    )


def read_paused(connection: Connection, *, lock: bool = False) -> bool | None:
    """Whether the switch is on; None is unknown, and counts as paused.

    `lock` keeps the row locked to the end of the transaction: claims are serialised by it.
    """
    query = select(switch.c.paused)
    return connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()


def set_paused(
    connection: Connection, *, paused: bool, by: str, comment: str, now: float
) -> Switch:
    """Pause or resume, with its audit record."""
    state = Switch(paused=paused, comment=comment, changed_by=by, changed_at=now)
    connection.execute(update(switch).values(vars(state)))
    event = "paused" if paused else "resumed"
    log.append(connection, now, log.Event(actor=by, event=event, detail={"comment": comment}))
    return state
