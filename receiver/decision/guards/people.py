"""Guards on what people have set: the kill switch, overrides and arming."""

from actions.reasons import Reason
from receiver.controls.overrides import Effect
from receiver.decision.guards.base import GuardInput, Refused


def require_not_paused(inputs: GuardInput) -> str | Refused:
    paused = inputs.snapshot.paused
    if paused is None:
        return Refused(Reason.STATE_UNKNOWN, "the kill switch cannot be read")
    return Refused(Reason.PAUSED, "a person paused the service") if paused else "not paused"


def require_no_hold(inputs: GuardInput) -> str | Refused:
    if inputs.snapshot.overrides is None:
        return Refused(Reason.STATE_UNKNOWN, "the overrides cannot be read")
    for override in inputs.snapshot.overrides:
        if override.effect is Effect.HOLD:
            detail = f"{override.created_by} set a hold: {override.comment}"
            return Refused(Reason.OVERRIDE_HOLD, detail, override.ends_at)
    return "no hold"


def require_arming_known(inputs: GuardInput) -> str | Refused:
    """Refuses only where the arming cannot be read.

    An unarmed playbook still gets a decision, in observe mode.
    """
    arming = inputs.snapshot.arming
    if arming is None:
        return Refused(Reason.STATE_UNKNOWN, "unknown whether the playbook is armed")
    return arming.why
