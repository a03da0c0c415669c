"""How far people let a playbook go: armed for a service, or for all, and disarmed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from actions.audit import log
from actions.audit.log import canonical
from receiver.db.tables import armings
from receiver.settings import Mode

# Instead of a service's name: every service that has no arming of its own.
ALL = ""
_WHOLE = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Arming:
    """What a person, or the breaker, said last of a playbook and a service; `observe` is disarmed.

    It is for the very playbook with this `digest`. `since` is when it reached this mode, `at` when
    it was last changed, in epoch seconds. `figures` are those that justified it, `despite` what
    spoke against it.
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
class Armed:
    """How far a playbook may go for a service, and why, in words."""

    mode: Mode
    why: str
    canary_percent: int = 100

    def limit(self, playbook: str, target: str) -> tuple[Mode, str]:
        """How far it may go on this target, and who says so."""
        if self.mode is not Mode.OBSERVE and not in_canary(playbook, target, self.canary_percent):
            share = f"{target} is not among the {self.canary_percent} % of targets"
            return Mode.OBSERVE, f"the canary: {share}"
        return self.mode, f"the arming: {self.why}"


FREE = Armed(mode=Mode.AUTO, why="it need not be armed")


def armed(found: Sequence[Arming], service: str, digest: str, *, required: bool) -> Armed:
    """What the armings of a playbook, as it is now, come to for a service."""
    mine = holding(found, service)
    if mine is None:
        return Armed(mode=Mode.OBSERVE, why="nobody has armed it") if required else FREE
    if mine.mode is Mode.OBSERVE:
        return Armed(mode=Mode.OBSERVE, why=f"{mine.by} disarmed it: {mine.comment}")
    if mine.digest != digest:
        return Armed(mode=Mode.OBSERVE, why="the playbook was changed since it was armed")
    return Armed(
        mode=mine.mode,
        why=f"{mine.by} armed it: {mine.comment}",
        canary_percent=mine.canary_percent,
    )


def holding(found: Sequence[Arming], service: str) -> Arming | None:
    """The one that holds for a service: its own, else the one for all."""
    by_service = {one.service: one for one in found}
    return by_service.get(service) or by_service.get(ALL)


def in_canary(playbook: str, target: str, percent: int) -> bool:
    """Whether a target is in the share; one that is in stays in as the share grows."""
    found = hashlib.sha256(f"{playbook}\n{target}".encode()).digest()
    return int.from_bytes(found[:8]) * 100 < percent * _WHOLE


def of(connection: Connection, playbook: str) -> Sequence[Arming]:
    """By service; the one for all of them first."""
    query = select(armings).where(armings.c.playbook == playbook).order_by(armings.c.service)
    return [_arming(row) for row in connection.execute(query).mappings()]


def every(connection: Connection) -> Mapping[str, Sequence[Arming]]:
    """By playbook, and then as `of`."""
    query = select(armings).order_by(armings.c.playbook, armings.c.service)
    found: dict[str, list[Arming]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["playbook"], []).append(_arming(row))
    return found


def put(connection: Connection, arming: Arming) -> None:
    """Arm, or disarm, from now on, with its audit record.

    What disarms all services disarms each of them: what is armed of them is so no more, and what is
    disarmed stays so, also when all are armed again.
    """
    disarms = arming.mode is Mode.OBSERVE
    if disarms and arming.service == ALL:
        mine = (armings.c.playbook == arming.playbook, armings.c.mode != Mode.OBSERVE)
        connection.execute(delete(armings).where(*mine))
    said = vars(arming)
    values = said | {name: canonical(said[name]) for name in ("figures", "despite")}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(armings).values(values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["playbook", "service"], set_=values)
    )
    detail = {name: value for name, value in said.items() if name not in {"by", "at"}}
    detail["service"] = arming.service or None
    event = "playbook_disarmed" if disarms else "playbook_armed"
    log.append(connection, arming.at, log.Event(actor=arming.by, event=event, detail=detail))


def disarmed(playbook: str, service: str, *, by: str, comment: str, now: float) -> Arming:
    """The arming that disarms."""
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


def trip(connection: Connection, playbook: str, by: str, now: float) -> None:
    """The playbook's breaker has opened: what people have armed waits for people again."""
    if any(one.mode is not Mode.OBSERVE for one in of(connection, playbook)):
        comment = "its breaker opened: too many runs in a row failed"
        put(connection, disarmed(playbook, ALL, by=by, comment=comment, now=now))


def _arming(row: RowMapping) -> Arming:
    said = {name: json.loads(row[name]) for name in ("figures", "despite")}
    return Arming(**(dict(row) | said | {"mode": Mode(row["mode"])}))
