"""What people say about alerts ahead of time: hold (never act on these), or only observe them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update

from actions.audit import log
from actions.audit.log import canonical
from receiver.db.tables import overrides
from receiver.playbooks.matchers import Matcher, parse


class Effect(StrEnum):
    HOLD = "hold"
    OBSERVE = "observe"


@dataclass(frozen=True, kw_only=True)
class Override:
    """Holds for alerts that all matchers fit, from `starts_at` until `ends_at` (epoch seconds)."""

    id: str
    matchers: Sequence[Matcher]
    effect: Effect
    starts_at: float
    ends_at: float
    created_by: str
    comment: str

    def holds(self, labels: Mapping[str, str], now: float) -> bool:
        in_time = self.starts_at <= now < self.ends_at
        return in_time and all(matcher.matches(labels) for matcher in self.matchers)


def add(connection: Connection, override: Override, now: float) -> None:
    """Store it, with its audit record."""
    row = vars(override) | {"matchers": canonical([str(one) for one in override.matchers])}
    connection.execute(insert(overrides).values(row))
    detail = {key: value for key, value in row.items() if key != "created_by"}
    event = log.Event(actor=override.created_by, event="override_added", detail=detail)
    log.append(connection, now, event)


def end(
    connection: Connection, override_id: str, by: str, now: float, *, comment: str | None = None
) -> bool:
    """End it now; False where there is none that still holds, or is still to come."""
    mine = (overrides.c.id == override_id, overrides.c.ends_at > now)
    if connection.execute(update(overrides).where(*mine).values(ends_at=now)).rowcount != 1:
        return False
    detail = {"id": override_id, "comment": comment}
    event = log.Event(actor=by, event="override_ended", detail=detail)
    log.append(connection, now, event)
    return True


def unended(
    connection: Connection, now: float, *, before: str | None = None, limit: int | None = None
) -> Sequence[Override]:
    """Those that hold or are still to come, newest first, below id `before`."""
    query = select(overrides).where(overrides.c.ends_at > now)
    if before is not None:
        query = query.where(overrides.c.id < before)
    query = query.order_by(overrides.c.id.desc()).limit(limit)
    return [_override(row) for row in connection.execute(query)]


def of(
    connection: Connection, labels: Mapping[str, str], now: float, *, group: str | None = None
) -> Sequence[Override]:
    """Those that hold for these labels now; a `group` that AWS told of counts as `asg`, too."""
    concerned = {"asg": group, **labels} if group else labels
    return [one for one in unended(connection, now) if one.holds(concerned, now)]


def _override(row: Row[tuple[object, ...]]) -> Override:
    return Override(
        id=row.id,
        matchers=[parse(text) for text in json.loads(row.matchers)],
        effect=Effect(row.effect),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        created_by=row.created_by,
        comment=row.comment,
    )
