"""What the chat says of a run: lines without any text of the alert."""

from receiver.runs.model import GuardResult, Run, State
from receiver.runtime.redaction import plain

# The chat shows this many characters of a plan's digest; they suffice to name the plan.
DIGEST_LEAST = 8


def failed_gate(gate: GuardResult, told: str | None) -> str:
    return f"stopped at gate {gate.name}{'' if gate.detail == told else f': {plain(gate.detail)}'}"


def summary(run: Run) -> str:
    action = f", {run.plan.action}" if run.plan else ""
    if run.plan and run.state is State.AWAITING_APPROVAL:
        action += f" (plan {run.plan.digest[:DIGEST_LEAST]}, {len(run.approvals)} approved)"
    reason = f" ({run.refusal})" if run.refusal else ""
    target = plain(run.target or "no target")
    return f"{run.id} {run.state}{reason}: {run.playbook or 'no playbook'} on {target}{action}"
