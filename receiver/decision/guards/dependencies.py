"""The guard on what a target depends on."""

from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.ladder import is_stopped_by_run

# Suspects that a person is told.
_TOLD = 3


def require_own_cause(inputs: GuardInput) -> str | Refusal:
    """The target's trouble must not come from what it depends on.

    ## cause_elsewhere

    By the metrics of the file of [dependencies](dependencies.md), a component that the target
    depends on is unwell and explains at least a quarter of the target's latency or failures.
    `outcome` names it, how much it explains, and its newest run; nothing is done to the target.
    **Do:** mend what is named first.
    **To lift it:** nothing to do: while the alert fires, each repeat is decided again. A playbook
    with `ignores_dependencies: true` acts all the same.
    """
    snapshot = inputs.snapshot
    if is_stopped_by_run(inputs):
        return "the run has stopped the instance"
    if snapshot.suspects is None:
        return Refusal(Reason.CONDITION_UNKNOWN, "the metrics of the dependencies cannot be read")
    if not snapshot.suspects:
        return "no dependency explains it"
    told = "; ".join(str(suspect) for suspect in snapshot.suspects[:_TOLD])
    run = f"; its run is {snapshot.cause_run}" if snapshot.cause_run else ""
    return Refusal(Reason.CAUSE_ELSEWHERE, f"{told}{run}")
