"""Gives records of the time before the file of accounts their account and region."""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, delete, func, or_, select, update

from actions.audit import log
from actions.place import HOME, Place
from actions.tables import claims, debts, is_at, metadata, pauses
from receiver.db.database import Database
from receiver.db.tables import armings

_PLACED = [
    table for table in metadata.sorted_tables if "account" in table.c and table is not pauses
]


class PlacesLostError(Exception):
    """The settings name no account, and runs still have something to do in some."""


def require_places(database: Database, places: Sequence[Place], now: float) -> None:
    """Raises PlacesLostError: without the file a target could be acted on a second time."""
    if list(places) != [HOME]:
        return
    active = or_(claims.c.held, claims.c.cooldown_until > now)
    claimed = select(func.count()).select_from(claims).where(claims.c.account != "", active)
    owed = select(func.count()).select_from(debts).where(debts.c.account != "")
    with database.read() as connection:
        counts = [connection.execute(query).scalar_one() for query in (claimed, owed)]
    if any(counts):
        raise PlacesLostError(
            f"SMARTCLOUDOPS_ACCOUNTS is not set, but the records have {counts[0]} claims or "
            f"cooldowns and {counts[1]} debts of accounts that such a file named: set it"
        )


def adopt(database: Database, own: Place, places: Sequence[Place], now: float) -> None:
    """Before anything acts: records without a place become those of the service's `own`.

    If the file has no such place, they stay as they are, but armings go: what was armed in the one
    account is not armed in others.
    """
    if list(places) == [HOME]:
        return
    with database.write() as connection:
        if own == HOME:
            connection.execute(delete(armings).where(is_at(armings, HOME)))
            return
        adopted = sum(_move(connection, table, own) for table in _PLACED)
        if adopted:
            detail = {**vars(own), "records": adopted}
            event = log.Event(actor="smartcloudops", event="records_adopted", detail=detail)
            log.append(connection, now, event)


def _move(connection: Connection, table: Table, own: Place) -> int:
    """Move the table's rows. One that is already there is older: the file was away meanwhile."""
    key = [column for column in table.primary_key.columns if column.name not in vars(own)]
    if len(key) < len(table.primary_key.columns):
        later = table.alias()
        same = (later.c[column.name] == column for column in key)
        older = select(later.c.account).where(later.c.account == "", *same).exists()
        connection.execute(delete(table).where(is_at(table, own), older))
    return connection.execute(update(table).where(is_at(table, HOME)).values(vars(own))).rowcount
