"""The exclusive right of a run to act on a target, and the cooldown of the target."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    and_,
    bindparam,
    case,
    or_,
    select,
    tuple_,
    update,
)

from actions.base import Outcome, StepResult
from actions.driver import Statement
from actions.execution import (
    circuit_breakers,
    disruption_budget,
    kill_switch,
    rate_limits,
    rules,
)
from actions.execution.ledger import Intent
from actions.execution.rate_limits import Attempt, Counted
from actions.execution.records import Claim, ClaimRequest
from actions.place import HOME, Place
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.tables import claims, insert_for, intents, is_at, is_at_given

_ON = Statement(
    select(claims).where(
        is_at_given(claims), claims.c.target.in_(bindparam("targets", expanding=True))
    )
)


def claims_on(connection: Connection, place: Place, *targets: str) -> Mapping[str, Claim]:
    """Claims by target, without targets that were never claimed."""
    if not targets:
        return {}
    rows = _ON.rows(connection, {**vars(place), "targets": [*targets]})
    return {row["target"]: _claim(row) for row in rows}


def acquire(connection: Connection, request: ClaimRequest, now: float) -> int | Refusal:
    """Claim the target, and check all limits in the same transaction.

    Returns the claim's fence, or the refusal. Claims are serialised.
    """
    refusal = _why_not_claimable(connection, request, now)
    if refusal is not None:
        return refusal
    fence = _upsert(connection, request, now)
    if fence is None:
        claim = claims_on(connection, request.place, request.target).get(request.target)
        return rules.require_claimable(claim, request.run_id, now) or Refusal(
            Reason.TARGET_BUSY, f"another run claimed {request.target} at the same time"
        )
    scopes = [scope.name for scope in request.scopes]
    disruption_budget.reserve(connection, request.place, request.run_id, request.target, scopes)
    if request.counts:
        attempt = Attempt(
            run_id=request.run_id,
            step=request.step,
            place=request.place,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
            at=now,
        )
        rate_limits.record(connection, attempt)
        circuit_breakers.start_half_open_trial(
            connection, request.place, request.playbook, request.run_id
        )
    return fence


def _why_not_claimable(connection: Connection, request: ClaimRequest, now: float) -> Refusal | None:
    """The refusal by `rules`, on rows that stay locked until the claim is made."""
    refusal = _why_paused(connection, request.place, reverses=request.reverses, lock=True)
    if refusal is not None:
        return refusal
    for claim in claims_on(connection, request.place, *request.must_be_free).values():
        refusal = rules.require_not_held(claim, request.run_id)
        if refusal is not None:
            return refusal
    return _why_over_limit(connection, request, now)


def _why_over_limit(connection: Connection, request: ClaimRequest, now: float) -> Refusal | None:
    """The refusal by a limit that the step would exceed, or None."""
    if request.counts:
        breaker = circuit_breakers.read_breaker(connection, request.place, request.playbook)
        refusal = rules.require_breaker_closed(breaker, request.run_id, now)
        if refusal is not None:
            return refusal
        counted = Counted(
            place=request.place,
            target=request.target,
            group=request.group,
            playbook=request.playbook,
        )
        attempts = rate_limits.count(connection, counted, now)
        refusal = rules.require_within_rates(attempts, request.rates)
        if refusal is not None and not rate_limits.is_recorded(
            connection, request.run_id, request.step
        ):
            return refusal
    if not request.scopes:
        return None
    reserved = disruption_budget.reserved_by_others(connection, request.place, request.run_id)
    return rules.require_disruption_budget(request.scopes, reserved, request.target)


def _upsert(connection: Connection, request: ClaimRequest, now: float) -> int | None:
    """The new fence; None if another run holds the target, or the target is in its cooldown."""
    row = {
        **vars(request.place),
        "target": request.target,
        "run_id": request.run_id,
        "fence": 1,
        "claimed_at": now,
        "cooldown_until": now + request.cooldown_s,
        "held": True,
    }
    taken = _taking(connection.dialect.name).row(connection, row)
    return None if taken is None else int(taken["fence"])


@cache
def _taking(dialect: str) -> Statement:
    statement = insert_for(dialect, claims)
    given = statement.excluded
    own = claims.c.run_id == given.run_id
    longer = case(
        (and_(own, claims.c.cooldown_until > given.cooldown_until), claims.c.cooldown_until),
        else_=given.cooldown_until,
    )
    same = {name: given[name] for name in ("run_id", "claimed_at", "held")}
    free = and_(claims.c.held.is_(False), claims.c.cooldown_until <= given.claimed_at)
    return Statement(
        statement.on_conflict_do_update(
            index_elements=claims.primary_key.columns,
            set_=same | {"fence": claims.c.fence + 1, "cooldown_until": longer},
            where=or_(own, free),
        ).returning(claims.c.fence)
    )


def why_lost(connection: Connection, intent: Intent, *, reverses: bool = False) -> Refusal | None:
    """Why the step's claim may no longer act, or None."""
    paused = _why_paused(connection, intent.place, reverses=reverses)
    if paused is not None:
        return paused
    claim, held = claims_on(connection, intent.place, intent.target).get(intent.target), False
    if claim is not None:
        held = claim.held and (claim.run_id, claim.fence) == (intent.run_id, intent.fence)
    if not held:
        ended = f"this run no longer holds the claim on {intent.target}"
        detail = f"{ended}: the claim ended or was replaced"
        return rules.require_not_held(claim, intent.run_id) or Refusal(Reason.TARGET_BUSY, detail)
    return None


def _why_paused(
    connection: Connection, place: Place, *, reverses: bool, lock: bool = False
) -> Refusal | None:
    """The refusal by the kill switch; only a pause of everything stops a rollback."""
    # A rollback locks the switch as well, because this lock serialises claims.
    paused = kill_switch.read_paused(connection, place, lock=lock)
    if reverses:
        paused = kill_switch.stops_everything(connection)
    return rules.require_not_paused(paused=paused)


_RELEASE = Statement(
    update(claims)
    .where(claims.c.run_id.in_(bindparam("run_ids", expanding=True)))
    .values(held=False)
)


def release(connection: Connection, *run_ids: str) -> None:
    """End the claims of the runs; their cooldowns continue."""
    if run_ids:
        _RELEASE.count(connection, {"run_ids": [*run_ids]})
        disruption_budget.release(connection, *run_ids)


_RAN = select(intents.c.target).where(
    intents.c.run_id == bindparam("of"),
    # What needs no claim changes nothing.
    intents.c.fence > 0,
    intents.c.outcome.is_distinct_from(Outcome.FAILED),
    intents.c.result.is_distinct_from(StepResult.NEVER_RAN),
)
_END_IDLE = Statement(
    update(claims)
    .where(
        claims.c.run_id == bindparam("of"),
        claims.c.cooldown_until > bindparam("now"),
        claims.c.target.not_in(_RAN),
    )
    .values(cooldown_until=bindparam("now"))
)


def forget_unsent(connection: Connection, run_id: str, now: float) -> None:
    """A run uses up no attempt and no cooldown by steps that never ran, or were never sent."""
    _END_IDLE.count(connection, {"of": run_id, "now": now})
    rate_limits.forget_unrecorded(connection, run_id)


def list_active(
    connection: Connection,
    now: float,
    *,
    within: Place = HOME,
    after: tuple[str, str, str] = ("", "", ""),
    limit: int | None = None,
) -> Sequence[Claim]:
    """Claims that are held or still cooling down, sorted by target, account and region.

    Those `within` an account or a region, after the target, account and region `after`.
    """
    order = (claims.c.target, claims.c.account, claims.c.region)
    query = (
        select(claims)
        .where(or_(claims.c.held, claims.c.cooldown_until > now), tuple_(*order) > after)
        .order_by(*order)
        .limit(limit)
    )
    for name, value in vars(within).items():
        if value:
            query = query.where(claims.c[name] == value)
    return [_claim(row) for row in connection.execute(query).mappings()]


def clear_cooldown(connection: Connection, place: Place, target: str, now: float) -> bool:
    """End a target's cooldown; False if the target has none, or if a run holds the target."""
    statement = update(claims).where(
        is_at(claims, place),
        claims.c.target == target,
        claims.c.held.is_(False),
        claims.c.cooldown_until > now,
    )
    return connection.execute(statement.values(cooldown_until=now)).rowcount == 1


def _claim(row: Mapping[str, Any] | RowMapping) -> Claim:
    return Claim(
        place=Place(row["account"], row["region"]),
        target=row["target"],
        run_id=row["run_id"],
        fence=row["fence"],
        cooldown_until=row["cooldown_until"],
        held=row["held"],
    )
