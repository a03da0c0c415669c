"""Armings: the highest mode that people allow a playbook, for one service or for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from actions.audit import log
from actions.driver import Statement
from actions.place import HOME, Place
from actions.tables import insert_into, is_at
from receiver.controls.records import ALL, Arming
from receiver.db.tables import armings as table
from receiver.settings import Mode

# The arming for all services comes first.
_ORDER = (table.c.service, table.c.account, table.c.region)
_OF_PLAYBOOK = Statement(
    select(table).where(table.c.playbook == bindparam("playbook")).order_by(*_ORDER)
)
_ALL = Statement(select(table).order_by(table.c.playbook, *_ORDER))


def armings_of(connection: Connection, playbook: str) -> Sequence[Arming]:
    """The playbook's armings by service, the one for all services first."""
    return [_arming(row) for row in _OF_PLAYBOOK.rows(connection, {"playbook": playbook})]


def list_all(connection: Connection) -> Mapping[str, Sequence[Arming]]:
    """All armings by playbook, then as in `armings_of`."""
    by_playbook: dict[str, list[Arming]] = {}
    for row in _ALL.rows(connection, {}):
        by_playbook.setdefault(row["playbook"], []).append(_arming(row))
    return by_playbook


def save(connection: Connection, arming: Arming, event: str = "playbook_armed") -> None:
    """Store an arming, or a disarming, with its audit record; `event` is that of an arming.

    Disarming all services removes the armings of single ones. Single services that were disarmed
    stay disarmed, even if all are armed again.
    """
    disarms = arming.mode is Mode.OBSERVE
    if disarms and arming.service == ALL:
        armed = (table.c.playbook == arming.playbook, table.c.mode != Mode.OBSERVE)
        connection.execute(delete(table).where(is_at(table, arming.place), *armed))
    fields = vars(arming)
    statement = insert_into(connection, table).values(fields)
    connection.execute(
        statement.on_conflict_do_update(index_elements=table.primary_key.columns, set_=fields)
    )
    detail = {name: value for name, value in fields.items() if name not in {"by", "at"}}
    detail["service"] = arming.service or None
    if arming.place == HOME:
        # Without a file of accounts there is one place, which needs no name.
        detail = {name: detail[name] for name in detail if name not in {"account", "region"}}
    written = "playbook_disarmed" if disarms else event
    log.append(connection, arming.at, log.Event(actor=arming.by, event=written, detail=detail))


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What an arming is of: a service, or `ALL`, in one place."""

    playbook: str
    place: Place = HOME
    service: str = ALL


def disarmed(scope: Scope, *, by: str, comment: str, now: float) -> Arming:
    """An arming that disarms the playbook."""
    return Arming(
        playbook=scope.playbook,
        **vars(scope.place),
        service=scope.service,
        mode=Mode.OBSERVE,
        canary_percent=100,
        digest="",
        by=by,
        comment=comment,
        at=now,
        since=now,
        figures={},
        despite=(),
    )


def disarm_on_failure(
    connection: Connection, place: Place, playbook: str, by: str, now: float
) -> None:
    """Disarm, in one place, a playbook whose circuit breaker opened there: a person must arm it."""
    armed = [each for each in armings_of(connection, playbook) if each.mode is not Mode.OBSERVE]
    if any(each.place == place for each in armed):
        comment = "the circuit breaker opened: too many runs in a row failed"
        save(
            connection,
            disarmed(Scope(playbook=playbook, place=place), by=by, comment=comment, now=now),
        )


def _arming(row: Mapping[str, Any]) -> Arming:
    return Arming(**({**row} | {"mode": Mode(row["mode"])}))
