"""Guards on people's settings: the kill switch, overrides and arming."""

from actions.execution import rules
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.controls import limits
from receiver.decision.guards.base import GuardInput
from receiver.decision.ladder import chosen_plan, removes_members


def require_not_paused(inputs: GuardInput) -> str | Refusal:
    return rules.require_not_paused(paused=inputs.snapshot.paused) or "not paused"


def require_no_hold(inputs: GuardInput) -> str | Refusal:
    return limits.require_no_hold(inputs.overrides, inputs.now) or "no hold"


def require_no_hold_of_members(inputs: GuardInput) -> str | Refusal:
    """A step that may take out any instance of the group must not affect a held one."""
    plan = chosen_plan(inputs)
    if not removes_members(plan.step):
        return "the step takes out no other instance of the group"
    overrides = inputs.overrides_of(plan.identity)
    return limits.require_no_hold(overrides, inputs.now) or "no hold on an instance of the group"


def require_arming_known(inputs: GuardInput) -> str | Refusal:
    """The arming must be readable.

    An unarmed playbook still gets a decision, in observe mode.
    """
    arming = inputs.snapshot.arming
    if arming is None:
        return Refusal(Reason.STATE_UNKNOWN, "the playbook's arming cannot be read")
    return arming.why
