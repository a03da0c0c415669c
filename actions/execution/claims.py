"""The right to act on a target, held by one run at a time, with the cooldown that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, case, or_, select, update

from actions.execution import circuit_breakers, disruption_budget, kill_switch, rate_limits
from actions.execution.disruption_budget import Scope
from actions.execution.rate_limits import Attempt, Rates
from actions.reasons import Reason
from actions.tables import claims, insert_into


@dataclass(frozen=True, kw_only=True)
class Claim:
    target: str
    run_id: str
    fence: int
    cooldown_until: float
    held: bool

    def why_not(self, run_id: str | None, now: float) -> Reason | None:
        """Why the run may not act on this target now, or None."""
        if self.run_id == run_id:
            return None
        if self.held:
            return Reason.TARGET_BUSY
        return Reason.COOLDOWN if now < self.cooldown_until else None


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """The target that a run wants to claim, and the limits of the claim.

    No other run may hold one of `must_be_free`. `counts`: the rate limits and the circuit breaker
    apply. `scopes` are the scopes in which the target would be out of service.
    """

    run_id: str
    step: int
    target: str
    group: str
    playbook: str
    cooldown_s: float
    rates: Rates
    counts: bool
    must_be_free: Sequence[str] = ()
    scopes: Sequence[Scope] = ()


def claims_on(connection: Connection, *targets: str) -> Mapping[str, Claim]:
    """Claims by target; a target that was never claimed is left out."""
    rows = connection.execute(select(claims).where(claims.c.target.in_(targets)))
    return {row.target: _claim(row) for row in rows}


def acquire(connection: Connection, request: ClaimRequest, now: float) -> int | Reason:
    """Claim the target, with all limits checked in the same transaction.

    The fence of the claim, or why not. Claims are serialised.
    """
    if kill_switch.is_paused(connection, lock=True):
        return Reason.PAUSED
    others = claims_on(connection, *request.must_be_free).values()
    if any(claim.held and claim.run_id != request.run_id for claim in others):
        return Reason.TARGET_BUSY
    reason = _why_over_limit(connection, request, now)
    if reason is not None:
        return reason
    fence = _upsert(connection, request, now)
    if fence is None:
        claim = claims_on(connection, request.target)[request.target]
        return claim.why_not(request.run_id, now) or Reason.TARGET_BUSY
    disruption_budget.reserve(
        connection, request.run_id, request.target, [scope.name for scope in request.scopes]
    )
    if request.counts:
        attempt = Attempt(
            run_id=request.run_id,
            step=request.step,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
            at=now,
        )
        rate_limits.record(connection, attempt)
        circuit_breakers.start_half_open_trial(connection, request.playbook, request.run_id)
    return fence


def _why_over_limit(connection: Connection, request: ClaimRequest, now: float) -> Reason | None:
    """The limit that the step would break, or None."""
    if request.counts:
        breaker = circuit_breakers.read_breaker(connection, request.playbook)
        if breaker.why_open(request.run_id, now):
            return Reason.BREAKER_OPEN
        attempts = rate_limits.count(
            connection,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
            now=now,
        )
        if attempts.exceeds(request.rates) and not rate_limits.is_recorded(
            connection, request.run_id, request.step
        ):
            return Reason.RATE_LIMIT
    reserved: Mapping[str, frozenset[str]] = {}
    if request.scopes:
        reserved = disruption_budget.reserved_by_others(connection, request.run_id)
    for scope in request.scopes:
        reason = scope.harm(request.target, reserved.get(scope.name, ()))
        if reason is not None:
            return reason
    return None


def _upsert(connection: Connection, request: ClaimRequest, now: float) -> int | None:
    """The new fence; None where another run holds the target, or its cooldown is not over."""
    until = now + request.cooldown_s
    values = {"run_id": request.run_id, "claimed_at": now, "cooldown_until": until, "held": True}
    own = claims.c.run_id == request.run_id
    longer = case(
        (and_(own, claims.c.cooldown_until > until), claims.c.cooldown_until), else_=until
    )
    statement = (
        insert_into(connection, claims)
        .values(target=request.target, fence=1, **values)
        .on_conflict_do_update(
            index_elements=[claims.c.target],
            set_=values | {"fence": claims.c.fence + 1, "cooldown_until": longer},
            where=or_(own, and_(claims.c.held.is_(False), claims.c.cooldown_until <= now)),
        )
        .returning(claims.c.fence)
    )
    return connection.execute(statement).scalar_one_or_none()


def why_lost(connection: Connection, target: str, run_id: str, fence: int) -> Reason | None:
    """Why the claim with this fence may no longer act, or None."""
    if kill_switch.is_paused(connection):
        return Reason.PAUSED
    claim = claims_on(connection, target).get(target)
    if claim is None or not claim.held or (claim.run_id, claim.fence) != (run_id, fence):
        return Reason.TARGET_BUSY
    return None


def release(connection: Connection, *run_ids: str) -> None:
    """End the holds of the runs; their cooldowns continue."""
    if run_ids:
        connection.execute(update(claims).where(claims.c.run_id.in_(run_ids)).values(held=False))
        disruption_budget.release(connection, *run_ids)


def list_active(
    connection: Connection, now: float, *, after: str = "", limit: int | None = None
) -> Sequence[Claim]:
    """Claims that are held or still cooling down, sorted by target, from the one after `after`."""
    query = (
        select(claims)
        .where(or_(claims.c.held, claims.c.cooldown_until > now), claims.c.target > after)
        .order_by(claims.c.target)
        .limit(limit)
    )
    return [_claim(row) for row in connection.execute(query)]


def clear_cooldown(connection: Connection, target: str, now: float) -> bool:
    """End a target's cooldown; False where it has none, or a run holds the target."""
    statement = update(claims).where(
        claims.c.target == target, claims.c.held.is_(False), claims.c.cooldown_until > now
    )
    return connection.execute(statement.values(cooldown_until=now)).rowcount == 1


def _claim(row: Row[Any]) -> Claim:
    return Claim(
        target=row.target,
        run_id=row.run_id,
        fence=row.fence,
        cooldown_until=row.cooldown_until,
        held=row.held,
    )
