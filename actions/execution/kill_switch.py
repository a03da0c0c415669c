"""The kill switch: while it is on, nothing acts."""

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


def read(connection: Connection) -> Switch | None:
    """The switch as it stands; None is unknown, and counts as paused."""
    row = connection.execute(select(switch)).one_or_none()
    if row is None:
        return None
    return Switch(
        paused=row.paused,
        comment=row.comment,
        changed_by=row.changed_by,
        changed_at=row.changed_at,
    )


def paused(connection: Connection, *, lock: bool = False) -> bool:
    """Whether nothing may act; unknown counts as paused. `lock` has the next one who asks wait."""
    query = select(switch.c.paused)
    found = connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    return found is None or found


def turn(connection: Connection, *, paused: bool, by: str, comment: str, now: float) -> Switch:
    """Pause or resume, with its audit record."""
    state = Switch(paused=paused, comment=comment, changed_by=by, changed_at=now)
    changed = update(switch).values(paused=paused, comment=comment, changed_by=by, changed_at=now)
    connection.execute(changed)
    event = "paused" if paused else "resumed"
    log.append(connection, now, log.Event(actor=by, event=event, detail={"comment": comment}))
    return state
