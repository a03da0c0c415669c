"""The kill switch: while it is on, no new step is executed.

A rollback and an escalation limit the damage of earlier steps: only an admin's pause of everything
stops them.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from actions.audit import log
from actions.tables import switch


@dataclass(frozen=True, kw_only=True)
class Switch:
    paused: bool
    everything: bool = False
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
        everything=row.everything,
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


def stops_everything(connection: Connection) -> bool:
    """Whether an admin has stopped rollbacks and escalations, too."""
    query = select(switch.c.paused, switch.c.everything)
    row = connection.execute(query).one_or_none()
    return row is not None and row.paused and row.everything


def set_paused(
    connection: Connection, *, paused: bool, by: str, comment: str, now: float
) -> Switch:
    """Pause or resume, with its audit record. Only resuming ends a pause of everything."""
    everything = paused and stops_everything(connection)
    return _store(
        connection,
        Switch(
            paused=paused, everything=everything, comment=comment, changed_by=by, changed_at=now
        ),
    )


def pause_everything(connection: Connection, *, by: str, comment: str, now: float) -> Switch:
    """Pause, and stop rollbacks and escalations, too, with its audit record."""
    return _store(
        connection,
        Switch(paused=True, everything=True, comment=comment, changed_by=by, changed_at=now),
    )


def _store(connection: Connection, state: Switch) -> Switch:
    connection.execute(update(switch).values(vars(state)))
    detail = {"comment": state.comment} | ({"everything": True} if state.everything else {})
    event = "paused" if state.paused else "resumed"
    log.append(
        connection, state.changed_at, log.Event(actor=state.changed_by, event=event, detail=detail)
    )
    return state
