"""Guards on the service's recent actions: echoes, cooldown, rate limits, breaker."""

from actions.catalog.registry import find_action
from actions.execution import rules
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.ladder import changes_something, remaining_steps
from receiver.decision.model import RecentAction

# An alert that starts this soon after an action counts as its consequence.
_ECHOES_S = 300.0
_ONLY_NOTIFIES = "the remaining steps only notify people"


def require_not_self_inflicted(inputs: GuardInput) -> str | Refusal:
    """The alert must not be a consequence of a recent action.

    ## self_inflicted

    An act of SmartCloudOps caused the alert: for example, a host that reboots does not answer, and
    a new instance is busy. The run names the run that acted in `caused_by`; that run lists this one
    in `caused`.
    **To lift it:** wait until five minutes after the act. If a boot takes longer, raise the rule's
    `for`.
    """
    snapshot = inputs.snapshot
    if snapshot.recent_actions is None:
        return Refusal(Reason.STATE_UNKNOWN, "the recent actions cannot be read")
    if inputs.trigger.request is not None:
        return "requested by a person"
    for action in snapshot.recent_actions:
        if action.target == snapshot.target and find_action(action.action).removes_capacity:
            refused = why_caused_by_us(inputs, action)
            if refused is not None:
                return refused
    return "no recent action of ours explains the alert"


def why_caused_by_us(inputs: GuardInput, action: RecentAction) -> Refusal | None:
    """The refusal of an alert that started soon after the action, or None."""
    over_at = action.at + _ECHOES_S
    if action.run_id == inputs.trigger.run_id or not action.at <= inputs.trigger.starts_at:
        return None
    if inputs.now >= over_at:
        return None
    detail = f"{action.action} on {action.target} by run {action.run_id} caused the alert"
    return Refusal(Reason.SELF_INFLICTED, detail, over_at, action.run_id)


def require_target_free(inputs: GuardInput) -> str | Refusal:
    """The target must not be claimed or in its cooldown, and its group must not be claimed."""
    snapshot = inputs.snapshot
    refused = why_not_claimable(inputs, snapshot.target or "")
    if refused is None and snapshot.claims is not None and snapshot.group is not None:
        of_group = snapshot.claims.get(snapshot.group)
        refused = rules.require_not_held(of_group, inputs.trigger.run_id)
    return refused or "no other run holds the target, and no cooldown is active"


def why_not_claimable(inputs: GuardInput, target: str) -> Refusal | None:
    """The refusal of a claim on the target, or None."""
    if inputs.snapshot.claims is None:
        return Refusal(Reason.STATE_UNKNOWN, "the claims cannot be read")
    claim = inputs.snapshot.claims.get(target)
    return rules.require_claimable(claim, inputs.trigger.run_id, inputs.now)


def require_within_rates(inputs: GuardInput) -> str | Refusal:
    if _only_notifies(inputs):
        return _ONLY_NOTIFIES
    return why_over_rate(inputs, inputs.snapshot.target or "") or "within the rate limits"


def why_over_rate(inputs: GuardInput, target: str) -> Refusal | None:
    """The rate limit that another action on the target would exceed, or None."""
    attempts = (inputs.snapshot.attempts or {}).get(target)
    return rules.require_within_rates(attempts, inputs.playbooks[0].limits.rates)


def require_breaker_closed(inputs: GuardInput) -> str | Refusal:
    breaker = inputs.snapshot.breaker
    refusal = rules.require_breaker_closed(breaker, inputs.trigger.run_id, inputs.now)
    if breaker is not None and _only_notifies(inputs):
        return _ONLY_NOTIFIES
    return refusal or "closed"


def _only_notifies(inputs: GuardInput) -> bool:
    return not any(changes_something(step) for step in remaining_steps(inputs))
