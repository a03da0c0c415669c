"""The right to act on a target, held by one run at a time, with the cooldown that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from actions import switch
from actions.tables import claims


class Denial(StrEnum):
    PAUSED = "paused"
    TARGET_BUSY = "target_busy"
    COOLDOWN = "cooldown"


@dataclass(frozen=True, kw_only=True)
class Claim:
    target: str
    run_id: str
    fence: int
    cooldown_until: float
    held: bool

    def denies(self, run_id: str | None, now: float) -> Denial | None:
        """Why another run may not act on this target now, or None."""
        if self.run_id == run_id:
            return None
        if self.held:
            return Denial.TARGET_BUSY
        return Denial.COOLDOWN if now < self.cooldown_until else None


def of(connection: Connection, *targets: str) -> Mapping[str, Claim]:
    rows = connection.execute(select(claims).where(claims.c.target.in_(targets)))
    return {
        row.target: Claim(
            target=row.target,
            run_id=row.run_id,
            fence=row.fence,
            cooldown_until=row.cooldown_until,
            held=row.held,
        )
        for row in rows
    }


def take(  # noqa: PLR0913 each is one fact of the claim, by name
    connection: Connection,
    target: str,
    run_id: str,
    *,
    cooldown_s: float,
    now: float,
    beside: Sequence[str] = (),
) -> int | Denial:
    """Claim the target in one conditional write; the fence of the claim, or why not.

    `beside` are other targets that no other run may hold.
    """
    state = switch.read(connection)
    if state is None or state.paused:
        return Denial.PAUSED
    if any(one.held and one.run_id != run_id for one in of(connection, *beside).values()):
        return Denial.TARGET_BUSY
    values = {
        "run_id": run_id,
        "claimed_at": now,
        "cooldown_until": now + cooldown_s,
        "held": True,
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    free = and_(claims.c.held.is_(False), claims.c.cooldown_until <= now)
    statement = (
        dialect.insert(claims)
        .values(target=target, fence=1, **values)
        .on_conflict_do_update(
            index_elements=[claims.c.target],
            set_=values | {"fence": claims.c.fence + 1},
            where=or_(claims.c.run_id == run_id, free),
        )
        .returning(claims.c.fence)
    )
    fence = connection.execute(statement).scalar_one_or_none()
    if fence is not None:
        return int(fence)
    return of(connection, target)[target].denies(run_id, now) or Denial.TARGET_BUSY


def lost(connection: Connection, target: str, run_id: str, fence: int) -> Denial | None:
    """Why this very claim may no longer act, or None: a run that was overtaken must not."""
    state = switch.read(connection)
    if state is None or state.paused:
        return Denial.PAUSED
    claim = of(connection, target).get(target)
    if claim is None or not claim.held or (claim.run_id, claim.fence) != (run_id, fence):
        return Denial.TARGET_BUSY
    return None


def release(connection: Connection, run_id: str) -> None:
    """End the run's hold; the cooldown goes on."""
    connection.execute(update(claims).where(claims.c.run_id == run_id).values(held=False))
