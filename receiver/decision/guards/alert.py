"""Guards on the alert itself: its form, its playbook, its target, and whether it still fires."""

from actions.reasons import Reason, Refusal
from receiver.decision.guards.base import GuardInput


def require_well_formed(inputs: GuardInput) -> str | Refusal:
    malformed = inputs.trigger.malformed
    return "well-formed" if malformed is None else Refusal(Reason.MALFORMED_ALERT, malformed)


def require_one_playbook(inputs: GuardInput) -> str | Refusal:
    names = [playbook.name for playbook in inputs.playbooks]
    if not names:
        return Refusal(Reason.NO_PLAYBOOK, "no playbook matches the alert's labels")
    if len(names) > 1:
        detail = f"more than one playbook matches: {', '.join(names)}"
        return Refusal(Reason.AMBIGUOUS_PLAYBOOK, detail)
    return names[0]


def require_target(inputs: GuardInput) -> str | Refusal:
    if inputs.snapshot.target is None:
        return Refusal(Reason.NO_TARGET, "the labels identify no instance and no group")
    return inputs.snapshot.target


def require_firing(inputs: GuardInput) -> str | Refusal:
    snapshot, request = inputs.snapshot, inputs.trigger.request
    if snapshot.resolved is None or snapshot.last_seen_at is None:
        return Refusal(Reason.STATE_UNKNOWN, "unknown whether the alert still fires")
    if snapshot.resolved:
        return Refusal(Reason.RESOLVED, "Alertmanager reports the alert as resolved")
    last_seen = f"requested by {request.by}" if request else "last seen firing"
    age_s = inputs.now - snapshot.last_seen_at
    if age_s > snapshot.gap_s:
        limit = f"the limit is {snapshot.gap_s:.0f} s"
        return Refusal(Reason.STALE, f"{last_seen} {age_s:.0f} s ago, {limit}")
    return f"{last_seen} {max(0.0, age_s):.1f} s ago"
