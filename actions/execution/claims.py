"""The right to act on a target, held by one run at a time, with the cooldown that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, case, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from actions.execution import circuit_breakers, disruption_budget, kill_switch, rate_limits
from actions.execution.disruption_budget import Scope
from actions.execution.rate_limits import Rates
from actions.reasons import Reason
from actions.tables import claims


@dataclass(frozen=True, kw_only=True)
class Claim:
    target: str
    run_id: str
    fence: int
    cooldown_until: float
    held: bool

    def denies(self, run_id: str | None, now: float) -> Reason | None:
        """Why another run may not act on this target now, or None."""
        if self.run_id == run_id:
            return None
        if self.held:
            return Reason.TARGET_BUSY
        return Reason.COOLDOWN if now < self.cooldown_until else None


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """What a run wants to claim, and the limits that hold for it.

    `beside` are other targets that no other run may hold. `counts`: it uses up the rates, and
    minds the breaker. `scopes` are those in which the target would be out.
    """

    run_id: str
    step: int
    target: str
    group: str
    playbook: str
    cooldown_s: float
    rates: Rates
    counts: bool
    beside: Sequence[str] = ()
    scopes: Sequence[Scope] = ()


def of(connection: Connection, *targets: str) -> Mapping[str, Claim]:
    rows = connection.execute(select(claims).where(claims.c.target.in_(targets)))
    return {row.target: _claim(row) for row in rows}


def take(connection: Connection, request: ClaimRequest, now: float) -> int | Reason:
    """Claim the target, with all limits checked in the same transaction.

    The fence of the claim, or why not. Whoever claims waits here for whoever claims before.
    """
    if kill_switch.paused(connection, lock=True):
        return Reason.PAUSED
    if any(
        one.held and one.run_id != request.run_id
        for one in of(connection, *request.beside).values()
    ):
        return Reason.TARGET_BUSY
    denial = _beyond(connection, request, now)
    if denial is not None:
        return denial
    fence = _claimed(connection, request, now)
    if fence is None:
        return (
            of(connection, request.target)[request.target].denies(request.run_id, now)
            or Reason.TARGET_BUSY
        )
    disruption_budget.reserve(
        connection, request.run_id, request.target, [scope.name for scope in request.scopes]
    )
    if request.counts:
        rate_limits.note(
            connection,
            run_id=request.run_id,
            step=request.step,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
            now=now,
        )
        circuit_breakers.probe(connection, request.playbook, request.run_id)
    return fence


def _beyond(connection: Connection, request: ClaimRequest, now: float) -> Reason | None:
    """The limit that the step would break, if any."""
    if request.counts:
        if circuit_breakers.read(connection, request.playbook).denies(request.run_id, now):
            return Reason.BREAKER_OPEN
        counted = rate_limits.count(
            connection,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
            now=now,
        )
        if counted.exceeds(request.rates) and not rate_limits.counted(
            connection, request.run_id, request.step
        ):
            return Reason.RATE_LIMIT
    others = disruption_budget.reserved(connection, request.run_id) if request.scopes else {}
    for scope in request.scopes:
        harm = scope.harm(request.target, others.get(scope.name, ()))
        if harm is not None:
            return harm
    return None


def _claimed(connection: Connection, request: ClaimRequest, now: float) -> int | None:
    until = now + request.cooldown_s
    values = {"run_id": request.run_id, "claimed_at": now, "cooldown_until": until, "held": True}
    mine = claims.c.run_id == request.run_id
    longer = case(
        (and_(mine, claims.c.cooldown_until > until), claims.c.cooldown_until), else_=until
    )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(claims)
        .values(target=request.target, fence=1, **values)
        .on_conflict_do_update(
            index_elements=[claims.c.target],
            set_=values | {"fence": claims.c.fence + 1, "cooldown_until": longer},
            where=or_(mine, and_(claims.c.held.is_(False), claims.c.cooldown_until <= now)),
        )
        .returning(claims.c.fence)
    )
    return connection.execute(statement).scalar_one_or_none()


def lost(connection: Connection, target: str, run_id: str, fence: int) -> Reason | None:
    """Why this very claim may no longer act, or None: a run that was overtaken must not."""
    if kill_switch.paused(connection):
        return Reason.PAUSED
    claim = of(connection, target).get(target)
    if claim is None or not claim.held or (claim.run_id, claim.fence) != (run_id, fence):
        return Reason.TARGET_BUSY
    return None


def release(connection: Connection, *run_ids: str) -> None:
    """End the runs' holds; the cooldowns go on."""
    if run_ids:
        connection.execute(update(claims).where(claims.c.run_id.in_(run_ids)).values(held=False))
        disruption_budget.release(connection, *run_ids)


def cooling(
    connection: Connection, now: float, *, after: str = "", limit: int | None = None
) -> Sequence[Claim]:
    """Claims that are held or whose cooldown is not over, by target, above `after`."""
    query = (
        select(claims)
        .where(or_(claims.c.held, claims.c.cooldown_until > now), claims.c.target > after)
        .order_by(claims.c.target)
        .limit(limit)
    )
    return [_claim(row) for row in connection.execute(query)]


def cool(connection: Connection, target: str, now: float) -> bool:
    """End a target's cooldown; False where there is none, or a run holds the target."""
    ended = update(claims).where(
        claims.c.target == target, claims.c.held.is_(False), claims.c.cooldown_until > now
    )
    return connection.execute(ended.values(cooldown_until=now)).rowcount == 1


def _claim(row: Row[Any]) -> Claim:
    return Claim(
        target=row.target,
        run_id=row.run_id,
        fence=row.fence,
        cooldown_until=row.cooldown_until,
        held=row.held,
    )
