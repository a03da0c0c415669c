"""Overrides: people's orders to hold alerts (never act on them), observe them, or ask first."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from actions.audit import log
from actions.driver import Statement
from receiver.controls.records import Effect, Identity, Override
from receiver.db.tables import overrides
from receiver.playbooks.matchers import parse
from receiver.playbooks.time_intervals import TimeInterval, dump


def add(connection: Connection, override: Override, now: float) -> None:
    """Store the override, with its audit record."""
    row = vars(override) | {
        "matchers": [str(matcher) for matcher in override.matchers],
        "time_intervals": [dump(interval) for interval in override.time_intervals],
    }
    connection.execute(insert(overrides).values(row))
    detail = {key: value for key, value in row.items() if key != "created_by"}
    event = log.Event(actor=override.created_by, event="override_added", detail=detail)
    log.append(connection, now, event)


def end(
    connection: Connection, override_id: str, by: str, now: float, *, comment: str | None = None
) -> bool:
    """End the override now. Returns False if none has this id, or it has already ended."""
    current = (overrides.c.id == override_id, overrides.c.ends_at > now)
    if connection.execute(update(overrides).where(*current).values(ends_at=now)).rowcount != 1:
        return False
    detail = {"id": override_id, "comment": comment}
    event = log.Event(actor=by, event="override_ended", detail=detail)
    log.append(connection, now, event)
    return True


# Built once, as each step asks several times.
_CURRENT = (
    select(overrides).where(overrides.c.ends_at > bindparam("now")).order_by(overrides.c.id.desc())
)
_ALL_CURRENT = Statement(_CURRENT)


def list_current(
    connection: Connection, now: float, *, before: str | None = None, limit: int | None = None
) -> Sequence[Override]:
    """Overrides that have not ended, newest first, below id `before`."""
    if before is None and limit is None:
        return [_override(row) for row in _ALL_CURRENT.rows(connection, {"now": now})]
    query = _CURRENT
    if before is not None:
        query = query.where(overrides.c.id < before)
    if limit is not None:
        query = query.limit(limit)
    return [_override(row) for row in connection.execute(query, {"now": now}).mappings()]


def in_effect(connection: Connection, identity: Identity, now: float) -> Sequence[Override]:
    """Overrides that apply to a target and its alert now."""
    current = list_current(connection, now)
    return [override for override in current if override.applies_to(identity, now)]


def _override(row: Mapping[str, Any] | RowMapping) -> Override:
    return Override(
        id=row["id"],
        matchers=[parse(text) for text in row["matchers"]],
        effect=Effect(row["effect"]),
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        created_by=row["created_by"],
        comment=row["comment"],
        time_intervals=[
            TimeInterval.model_validate(interval) for interval in row["time_intervals"]
        ],
    )
