"""Guards on people's settings: the kill switch, overrides and arming."""

from actions.execution import rules
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.controls import limits
from receiver.decision.guards.base import GuardInput


def require_not_paused(inputs: GuardInput) -> str | Refusal:
    return rules.require_not_paused(paused=inputs.snapshot.paused) or "not paused"


def require_no_hold(inputs: GuardInput) -> str | Refusal:
    return limits.require_no_hold(inputs.overrides) or "no hold"


def require_arming_known(inputs: GuardInput) -> str | Refusal:
    """The arming must be readable.

    An unarmed playbook still gets a decision, in observe mode.
    """
    arming = inputs.snapshot.arming
    if arming is None:
        return Refusal(Reason.STATE_UNKNOWN, "the playbook's arming cannot be read")
    return arming.why
