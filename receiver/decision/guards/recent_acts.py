"""Guards on what the service did a short while ago: echoes, cooldown, rate limits, breaker."""

from actions.catalog.registry import CATALOG
from actions.reasons import Reason
from receiver.decision.guards.base import GuardInput, Refused
from receiver.decision.ladder import changes_something, remaining_steps
from receiver.decision.model import RecentAction

# For this long after an action of ours, an alert that starts counts as its consequence.
_ECHOES_S = 300.0
_ONLY_NOTIFIES = "the remaining steps only notify people"


def require_not_self_inflicted(inputs: GuardInput) -> str | Refused:
    """An alert that an action of ours caused is no reason for another action."""
    snapshot = inputs.snapshot
    if snapshot.recent_actions is None:
        return Refused(Reason.STATE_UNKNOWN, "the recent actions cannot be read")
    if inputs.trigger.request is not None:
        return "requested by a person"
    for action in snapshot.recent_actions:
        if action.target == snapshot.target and CATALOG[action.action].removes_capacity:
            refused = why_caused_by_us(inputs, action)
            if refused is not None:
                return refused
    return "no recent action of ours explains the alert"


def why_caused_by_us(inputs: GuardInput, action: RecentAction) -> Refused | None:
    """The refusal of an alert that started soon after the action, or None."""
    over_at = action.at + _ECHOES_S
    if action.run_id == inputs.trigger.run_id or not action.at <= inputs.trigger.starts_at:
        return None
    if inputs.now >= over_at:
        return None
    detail = f"{action.action} on {action.target} by run {action.run_id} caused the alert"
    return Refused(Reason.SELF_INFLICTED, detail, over_at, action.run_id)


def require_target_free(inputs: GuardInput) -> str | Refused:
    """The target must be free and out of its cooldown; of its group only the claim counts."""
    snapshot = inputs.snapshot
    refused = why_not_claimable(inputs, snapshot.target or "")
    if refused is None and snapshot.group is not None:
        by_group = why_not_claimable(inputs, snapshot.group)
        busy = by_group is not None and by_group.reason is not Reason.COOLDOWN
        refused = by_group if busy else None
    return refused or "no other run holds the target, and no cooldown is active"


def why_not_claimable(inputs: GuardInput, target: str) -> Refused | None:
    """Why the run could not claim the target now, or None."""
    if inputs.snapshot.claims is None:
        return Refused(Reason.STATE_UNKNOWN, "the claims cannot be read")
    claim = inputs.snapshot.claims.get(target)
    reason = claim.why_not(inputs.trigger.run_id, inputs.now) if claim else None
    if claim is None or reason is None:
        return None
    if reason is Reason.COOLDOWN:
        left_s = claim.cooldown_until - inputs.now
        detail = f"run {claim.run_id} acted on {target}; {left_s:.0f} s of the cooldown are left"
        return Refused(Reason.COOLDOWN, detail, claim.cooldown_until)
    return Refused(Reason.TARGET_BUSY, f"run {claim.run_id} holds the claim on {target}")


def require_within_rates(inputs: GuardInput) -> str | Refused:
    if _only_notifies(inputs):
        return _ONLY_NOTIFIES
    return why_over_rate(inputs, inputs.snapshot.target or "") or "within the rate limits"


def why_over_rate(inputs: GuardInput, target: str) -> Refused | None:
    """The rate limit that another action on the target would exceed, or None."""
    attempts = inputs.snapshot.attempts
    if attempts is None or target not in attempts:
        return Refused(Reason.STATE_UNKNOWN, "the recent attempts cannot be counted")
    exceeded = attempts[target].exceeds(inputs.playbooks[0].limits.rates)
    return Refused(Reason.RATE_LIMIT, exceeded) if exceeded else None


def require_breaker_closed(inputs: GuardInput) -> str | Refused:
    breaker = inputs.snapshot.breaker
    if breaker is None:
        return Refused(Reason.STATE_UNKNOWN, "the circuit breaker cannot be read")
    if _only_notifies(inputs):
        return _ONLY_NOTIFIES
    why_open = breaker.why_open(inputs.trigger.run_id, inputs.now)
    return Refused(Reason.BREAKER_OPEN, why_open) if why_open else "closed"


def _only_notifies(inputs: GuardInput) -> bool:
    return not any(changes_something(step) for step in remaining_steps(inputs))
