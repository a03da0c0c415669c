"""Guards on the chosen step: its target is free, undisturbed, and can be spared."""

from actions.base import Impact, TargetKind
from actions.catalog.registry import CATALOG
from actions.reasons import Reason
from receiver.decision.guards.base import GuardInput, Refused
from receiver.decision.guards.recent_acts import why_not_claimable, why_over_rate
from receiver.decision.ladder import changes_something, choose, chosen_plan


def require_step(inputs: GuardInput) -> str | Refused:
    plan = choose(inputs)
    return plan if isinstance(plan, Refused) else f"{plan.step.action} on {plan.target}"


def require_step_target_free(inputs: GuardInput) -> str | Refused:
    """The step may be on another target than the alert's: on the group of an instance."""
    plan = chosen_plan(inputs)
    refused = why_not_claimable(inputs, plan.target)
    if refused is None and changes_something(plan.step):
        refused = why_over_rate(inputs, plan.target)
    return refused or f"{plan.target} is free and within its rate limits"


def require_no_other_change(inputs: GuardInput) -> str | Refused:
    action, changes = CATALOG[chosen_plan(inputs).step.action], inputs.snapshot.changes
    if action.allowed_during_changes or action.impact is Impact.HARMLESS:
        return f"{action.name} is allowed during other changes"
    if changes is None:
        detail = "unknown whether another change is in progress: AWS did not answer"
        return Refused(Reason.STATE_UNKNOWN, detail)
    if changes:
        return Refused(Reason.CHANGE_IN_PROGRESS, "; ".join(changes))
    return "no other change in progress"


def require_unprotected(inputs: GuardInput) -> str | Refused:
    action, protected = CATALOG[chosen_plan(inputs).step.action], inputs.snapshot.protected
    if action.target is not TargetKind.INSTANCE or action.impact is not Impact.DESTRUCTIVE:
        return "the step destroys no instance"
    if protected is None:
        detail = "unknown whether the instance has termination protection: AWS did not answer"
        return Refused(Reason.STATE_UNKNOWN, detail)
    if protected:
        return Refused(Reason.PROTECTED, "the instance has termination protection")
    return "no termination protection"


def require_disruption_budget(inputs: GuardInput) -> str | Refused:
    plan, snapshot = chosen_plan(inputs), inputs.snapshot
    if not CATALOG[plan.step.action].removes_capacity:
        return "the step takes no instance out of service"
    if snapshot.scopes is None or snapshot.reserved is None:
        return Refused(Reason.STATE_UNKNOWN, "unknown how many instances are out of service")
    for scope in snapshot.scopes:
        reserved = snapshot.reserved.get(scope.name, frozenset())
        reason = scope.harm(plan.target, reserved)
        if reason is not None:
            return Refused(
                reason,
                f"{scope.name}: {len(scope.out | reserved)} of {len(scope.members)} instances are "
                f"out of service or reserved; at most {scope.limit} may be, "
                f"and at least {scope.floor} must serve",
            )
    return "enough other instances serve"
