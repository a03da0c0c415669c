"""Rules that the guards check on a snapshot, and the claim again on rows that it has locked.

Each gets the facts and returns the refusal, or None where the step may be done. A fact that is
None is unknown, and refuses.
"""

from collections.abc import Collection, Mapping, Sequence

from actions.execution.records import Attempts, Breaker, Claim, Rates, Scope
from actions.reasons import Reason, Refusal

# How long an open breaker stays open before its trial run.
OPEN_S = 1_800.0


def require_not_paused(*, paused: bool | None) -> Refusal | None:
    if paused is None:
        return Refusal(Reason.STATE_UNKNOWN, "the kill switch cannot be read")
    return Refusal(Reason.PAUSED, "a person paused the service") if paused else None


def require_not_held(claim: Claim | None, run_id: str) -> Refusal | None:
    """Another run must not hold the claim; None is a target that was never claimed."""
    if claim is None or not claim.held or claim.run_id == run_id:
        return None
    return Refusal(Reason.TARGET_BUSY, f"run {claim.run_id} holds the claim on {claim.target}")


def require_claimable(claim: Claim | None, run_id: str, now: float) -> Refusal | None:
    """As `require_not_held`, and the cooldown of another run must be over."""
    refusal = require_not_held(claim, run_id)
    cooling = claim is not None and claim.run_id != run_id and now < claim.cooldown_until
    if refusal is not None or claim is None or not cooling:
        return refusal
    left_s = claim.cooldown_until - now
    detail = f"run {claim.run_id} acted on {claim.target}; {left_s:.0f} s of the cooldown are left"
    return Refusal(Reason.COOLDOWN, detail, claim.cooldown_until)


def require_within_rates(attempts: Attempts | None, rates: Rates) -> Refusal | None:
    """One more attempt must not exceed a rate limit."""
    if attempts is None:
        return Refusal(Reason.STATE_UNKNOWN, "the recent attempts cannot be counted")
    counted = (
        (attempts.target_hour, rates.target_per_hour, "an hour on this target"),
        (attempts.target_day, rates.target_per_day, "a day on this target"),
        (attempts.group_hour, rates.group_per_hour, "an hour in this group"),
        (attempts.playbook_hour, rates.playbook_per_hour, "an hour by this playbook"),
    )
    for count, limit, where in counted:
        if count >= limit:
            return Refusal(Reason.RATE_LIMIT, f"{count} of {limit} {where} are used up")
    return None


def require_breaker_closed(
    breaker: Breaker | None, run_id: str | None, now: float
) -> Refusal | None:
    """The breaker must be closed, or half open with this run as its trial, or with none yet."""
    if breaker is None:
        return Refusal(Reason.STATE_UNKNOWN, "the circuit breaker cannot be read")
    if breaker.opened_at is None:
        return None
    failed = f"{breaker.failures} runs in a row failed"
    left_s = breaker.opened_at + OPEN_S - now
    if left_s > 0:
        return Refusal(Reason.BREAKER_OPEN, f"{failed}; the next may try in {left_s:.0f} s")
    if breaker.probe is not None and breaker.probe != run_id:
        return Refusal(Reason.BREAKER_OPEN, f"{failed}, and run {breaker.probe} is the trial now")
    return None


def require_disruption_budget(
    scopes: Sequence[Scope] | None,
    reserved: Mapping[str, frozenset[str]] | None,
    target: str,
) -> Refusal | None:
    """The target may leave service in all scopes; `reserved` has other runs' targets by scope."""
    if scopes is None or reserved is None:
        return Refusal(Reason.STATE_UNKNOWN, "unknown how many instances are out of service")
    for scope in scopes:
        others = reserved.get(scope.name, frozenset())
        reason = _exceeded(scope, target, others)
        if reason is not None:
            return Refusal(
                reason,
                f"{scope.name}: {len(scope.out | others)} of {len(scope.members)} instances are "
                f"out of service or reserved; at most {scope.limit} may be, "
                f"and at least {scope.floor} must serve",
            )
    return None


def _exceeded(scope: Scope, target: str, reserved: Collection[str]) -> Reason | None:
    acting = {target, *reserved}
    if len(acting) > scope.limit:
        return Reason.BLAST_RADIUS
    # An instance out of service cannot be taken out again.
    if target in scope.out:
        return None
    out = scope.out | acting
    if len(scope.members - out) < scope.floor:
        return Reason.MIN_HEALTHY
    return Reason.BLAST_RADIUS if len(out) > scope.limit else None
