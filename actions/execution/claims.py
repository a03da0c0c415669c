"""The exclusive right of a run to act on a target, and the cooldown of the target."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, case, or_, select, update

from actions.base import Outcome, StepResult
from actions.execution import (
    circuit_breakers,
    disruption_budget,
    kill_switch,
    rate_limits,
    rules,
)
from actions.execution.rate_limits import Attempt
from actions.execution.records import Claim, ClaimRequest
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.tables import claims, insert_into, intents


def claims_on(connection: Connection, *targets: str) -> Mapping[str, Claim]:
    """Claims by target, without targets that were never claimed."""
    rows = connection.execute(select(claims).where(claims.c.target.in_(targets)))
    return {row.target: _claim(row) for row in rows}


def acquire(connection: Connection, request: ClaimRequest, now: float) -> int | Refusal:
    """Claim the target, and check all limits in the same transaction.

    Returns the claim's fence, or the refusal. Claims are serialised.
    """
    refusal = _why_not_claimable(connection, request, now)
    if refusal is not None:
        return refusal
    fence = _upsert(connection, request, now)
    if fence is None:
        claim = claims_on(connection, request.target).get(request.target)
        return rules.require_claimable(claim, request.run_id, now) or Refusal(
            Reason.TARGET_BUSY, f"another run claimed {request.target} at the same time"
        )
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


def _why_not_claimable(connection: Connection, request: ClaimRequest, now: float) -> Refusal | None:
    """The refusal by `rules`, on rows that stay locked until the claim is made."""
    refusal = _why_paused(connection, reverses=request.reverses, lock=True)
    if refusal is not None:
        return refusal
    for claim in claims_on(connection, *request.must_be_free).values():
        refusal = rules.require_not_held(claim, request.run_id)
        if refusal is not None:
            return refusal
    return _why_over_limit(connection, request, now)


def _why_over_limit(connection: Connection, request: ClaimRequest, now: float) -> Refusal | None:
    """The refusal by a limit that the step would exceed, or None."""
    if request.counts:
        breaker = circuit_breakers.read_breaker(connection, request.playbook)
        refusal = rules.require_breaker_closed(breaker, request.run_id, now)
        if refusal is not None:
            return refusal
        attempts = rate_limits.count(
            connection,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
            now=now,
        )
        refusal = rules.require_within_rates(attempts, request.rates)
        if refusal is not None and not rate_limits.is_recorded(
            connection, request.run_id, request.step
        ):
            return refusal
    if not request.scopes:
        return None
    reserved = disruption_budget.reserved_by_others(connection, request.run_id)
    return rules.require_disruption_budget(request.scopes, reserved, request.target)


def _upsert(connection: Connection, request: ClaimRequest, now: float) -> int | None:
    """The new fence; None if another run holds the target, or the target is in its cooldown."""
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


def why_lost(
    connection: Connection, target: str, run_id: str, fence: int, *, reverses: bool = False
) -> Refusal | None:
    """Why the claim with this fence may no longer act, or None."""
    paused = _why_paused(connection, reverses=reverses)
    if paused is not None:
        return paused
    claim = claims_on(connection, target).get(target)
    if claim is None or not claim.held or (claim.run_id, claim.fence) != (run_id, fence):
        detail = f"this run no longer holds the claim on {target}: the claim ended or was replaced"
        return rules.require_not_held(claim, run_id) or Refusal(Reason.TARGET_BUSY, detail)
    return None


def _why_paused(connection: Connection, *, reverses: bool, lock: bool = False) -> Refusal | None:
    """The refusal by the kill switch; only a pause of everything stops a rollback."""
    # A rollback locks the switch as well, because this lock serialises claims.
    paused = kill_switch.read_paused(connection, lock=lock)
    if reverses:
        paused = kill_switch.stops_everything(connection)
    return rules.require_not_paused(paused=paused)


def release(connection: Connection, *run_ids: str) -> None:
    """End the claims of the runs; their cooldowns continue."""
    if run_ids:
        connection.execute(update(claims).where(claims.c.run_id.in_(run_ids)).values(held=False))
        disruption_budget.release(connection, *run_ids)


def forget_unsent(connection: Connection, run_id: str, now: float) -> None:
    """A run uses up no attempt and no cooldown by steps that never ran, or were never sent."""
    ran = select(intents.c.target).where(
        intents.c.run_id == run_id,
        # What needs no claim changes nothing.
        intents.c.fence > 0,
        intents.c.outcome.is_distinct_from(Outcome.FAILED),
        intents.c.result.is_distinct_from(StepResult.NEVER_RAN),
    )
    idle = (
        claims.c.run_id == run_id,
        claims.c.cooldown_until > now,
        claims.c.target.not_in(ran),
    )
    connection.execute(update(claims).where(*idle).values(cooldown_until=now))
    rate_limits.forget_unrecorded(connection, run_id)


def list_active(
    connection: Connection, now: float, *, after: str = "", limit: int | None = None
) -> Sequence[Claim]:
    """Claims that are held or still cooling down, sorted by target, after the target `after`."""
    query = (
        select(claims)
        .where(or_(claims.c.held, claims.c.cooldown_until > now), claims.c.target > after)
        .order_by(claims.c.target)
        .limit(limit)
    )
    return [_claim(row) for row in connection.execute(query)]


def clear_cooldown(connection: Connection, target: str, now: float) -> bool:
    """End a target's cooldown; False if the target has none, or if a run holds the target."""
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
