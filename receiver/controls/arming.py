"""Armings: up to which mode people allow a playbook, for one service or for all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select

from actions.audit import log
from actions.audit.log import canonical
from actions.tables import insert_into
from receiver.db.tables import armings as table
from receiver.settings import Mode

# Instead of a service's name: every service that has no arming of its own.
ALL = ""
_WHOLE = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Arming:
    """The latest arming of a playbook for a service, by a person or the breaker.

    The mode `observe` means disarmed. It holds for the playbook with this `digest` alone. `since`
    is when it reached this mode, `at` when it last changed, in epoch seconds. `figures` justified
    it; `despite` lists the shortfalls that a person overruled.
    """

    playbook: str
    service: str
    mode: Mode
    canary_percent: int
    digest: str
    by: str
    comment: str
    at: float
    since: float
    figures: Mapping[str, Any]
    despite: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ArmedMode:
    """The mode that the armings allow a playbook for a service, and why, in words."""

    mode: Mode
    why: str
    canary_percent: int = 100

    def limit(self, playbook: str, target: str) -> tuple[Mode, str]:
        """The mode allowed on this target, and what limits it."""
        if self.mode is not Mode.OBSERVE and not in_canary(playbook, target, self.canary_percent):
            share = f"{target} is not among the {self.canary_percent} % of targets"
            return Mode.OBSERVE, f"the canary: {share}"
        return self.mode, f"the arming: {self.why}"


FREE = ArmedMode(mode=Mode.AUTO, why="it need not be armed")


def armed_mode(
    armings: Sequence[Arming], service: str, digest: str, *, required: bool
) -> ArmedMode:
    """The mode that a playbook's armings allow for a service; `digest` is the playbook's now."""
    arming = active(armings, service)
    if arming is None:
        return ArmedMode(mode=Mode.OBSERVE, why="nobody has armed it") if required else FREE
    if arming.mode is Mode.OBSERVE:
        return ArmedMode(mode=Mode.OBSERVE, why=f"{arming.by} disarmed it: {arming.comment}")
    if arming.digest != digest:
        return ArmedMode(mode=Mode.OBSERVE, why="the playbook was changed since it was armed")
    return ArmedMode(
        mode=arming.mode,
        why=f"{arming.by} armed it: {arming.comment}",
        canary_percent=arming.canary_percent,
    )


def active(armings: Sequence[Arming], service: str) -> Arming | None:
    """The arming that counts for a service: its own, else the one for all."""
    by_service = {arming.service: arming for arming in armings}
    return by_service.get(service) or by_service.get(ALL)


def in_canary(playbook: str, target: str, percent: int) -> bool:
    """Whether a target belongs to the canary; it stays in as the percentage grows."""
    digest = hashlib.sha256(f"{playbook}\n{target}".encode()).digest()
    return int.from_bytes(digest[:8]) * 100 < percent * _WHOLE


def armings_of(connection: Connection, playbook: str) -> Sequence[Arming]:
    """By service; the one for all services first."""
    query = select(table).where(table.c.playbook == playbook).order_by(table.c.service)
    return [_arming(row) for row in connection.execute(query).mappings()]


def list_all(connection: Connection) -> Mapping[str, Sequence[Arming]]:
    """By playbook, and then as `armings_of`."""
    query = select(table).order_by(table.c.playbook, table.c.service)
    by_playbook: dict[str, list[Arming]] = {}
    for row in connection.execute(query).mappings():
        by_playbook.setdefault(row["playbook"], []).append(_arming(row))
    return by_playbook


def save(connection: Connection, arming: Arming) -> None:
    """Store an arming, or a disarming, with its audit record.

    Disarming all services removes the armings of single ones. Single services that were disarmed
    stay disarmed, also when all are armed again.
    """
    disarms = arming.mode is Mode.OBSERVE
    if disarms and arming.service == ALL:
        armed = (table.c.playbook == arming.playbook, table.c.mode != Mode.OBSERVE)
        connection.execute(delete(table).where(*armed))
    fields = vars(arming)
    values = fields | {name: canonical(fields[name]) for name in ("figures", "despite")}
    statement = insert_into(connection, table).values(values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["playbook", "service"], set_=values)
    )
    detail = {name: value for name, value in fields.items() if name not in {"by", "at"}}
    detail["service"] = arming.service or None
    event = "playbook_disarmed" if disarms else "playbook_armed"
    log.append(connection, arming.at, log.Event(actor=arming.by, event=event, detail=detail))


def disarmed(playbook: str, service: str, *, by: str, comment: str, now: float) -> Arming:
    """An arming that disarms the playbook."""
    return Arming(
        playbook=playbook,
        service=service,
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


def disarm_on_failure(connection: Connection, playbook: str, by: str, now: float) -> None:
    """Disarm a playbook whose circuit breaker opened, so that a person must arm it again."""
    if any(arming.mode is not Mode.OBSERVE for arming in armings_of(connection, playbook)):
        comment = "its breaker opened: too many runs in a row failed"
        save(connection, disarmed(playbook, ALL, by=by, comment=comment, now=now))


def _arming(row: RowMapping) -> Arming:
    parsed = {name: json.loads(row[name]) for name in ("figures", "despite")}
    return Arming(**(dict(row) | parsed | {"mode": Mode(row["mode"])}))
