"""Guards on the re-check's verdict, and the reasons for a person's approval."""

from collections.abc import Iterator
from typing import assert_never

from actions.catalog.registry import find_action
from actions.reasons import Reason
from actions.refusal import Refusal
from models.inference.verdict import Answer, Verdict
from receiver.decision.guards.base import GuardInput
from receiver.decision.ladder import chosen_plan, is_stopped_by_run
from receiver.decision.model import Plan

_STOPPED = "the run has stopped the instance, which has no metrics until it is started"


def require_not_over(inputs: GuardInput) -> str | Refusal:
    """The alert must not be over, by the report of its sender and by the metrics.

    A report alone is only a hint, because any holder of the webhook's token can send it. If
    a person approved the plan and the re-check confirms the fault, the run continues.

    ## resolved

    Alertmanager reported the alert as resolved before the service acted, and the target's metrics
    show no fault. The run ends as `resolved`, not as `refused`.
    **Do:** nothing. If the alert flaps, raise the rule's `for`.
    """
    snapshot, verdict = inputs.snapshot, inputs.verdict
    if is_stopped_by_run(inputs):
        return _STOPPED
    if not snapshot.resolved:
        return "not reported as resolved"
    if snapshot.fires:
        return "reported as resolved, but Prometheus fires it"
    answer = Answer.UNDECIDED if verdict is None else verdict.answer
    detail = f"reported as resolved; the re-check's verdict: {answer}"
    if answer is Answer.REFUTED:
        return Refusal(Reason.RESOLVED, detail)
    if answer is Answer.CONFIRMED and snapshot.approvals:
        return f"{detail}, and a person approved the plan"
    return Refusal(Reason.VERDICT_UNDECIDED, detail)


def require_not_refuted(inputs: GuardInput) -> str | Refusal:
    r"""The verdict must be confirmed, or undecided if the playbook allows some step on that.

    ## verdict_refuted

    The re-check found no fault, or a pattern that is usual at this hour.

    ```console
    $ curl -H "$H" $S/api/v1/runs/$RUN | jq '.verdict | {answer, score, contributions}'
    ```

    **Do:** if the re-check is right, make the alert rule less sensitive. If it is wrong, fix the
    fault by hand and give feedback:

    ```console
    $ curl -H "$H" -H 'Content-Type: application/json' \
        -d '{"right": false, "comment": "it was down"}' $S/api/v1/runs/$RUN/mark
    ```

    ## verdict_undecided

    The re-check could not decide, or it still sees the fault although the alert was reported as
    resolved and is not firing in Prometheus. `contributions` in the verdict says why: the history
    is shorter than a day (a new label, a new instance), metrics are missing, Prometheus did not
    answer, or the pattern is unknown. Also check the model and Prometheus:

    ```console
    $ curl -H "$H" $S/api/v1/model | jq '{version, problem, drift}'
    $ curl $P/-/ready
    ```

    **To lift it:** wait until the history is long enough. Meanwhile a playbook can ask a person
    (`undecided`), or use `recheck` for faults that [the model does not
    know](model.md#what-it-does-not-know).

    ## cannot_tell_yet

    The re-check sees no fault, but by samples from before the alert: the target is scraped rarely,
    or its samples come late. `outcome` has their age and their interval.
    **Do:** nothing: while Alertmanager lists the alert, it is decided again after a minute. If its
    samples are always this late, look for the delay between exporter and Prometheus.
    """
    verdict = inputs.verdict
    if is_stopped_by_run(inputs):
        return _STOPPED
    if verdict is None:
        return Refusal(Reason.VERDICT_UNDECIDED, "the re-check gave no verdict")
    # The verdict itself tells its reasons.
    match verdict.answer:
        case Answer.CONFIRMED:
            return "the re-check confirms an incident"
        case Answer.REFUTED:
            return Refusal(Reason.VERDICT_REFUTED, "the re-check found no incident")
        case Answer.UNDECIDED:
            return _undecided(inputs, verdict)
    assert_never(verdict.answer)


def _undecided(inputs: GuardInput, verdict: Verdict) -> str | Refusal:
    policy = inputs.playbooks[0].undecided
    if verdict.early:
        reasons = "; ".join(reason.text for reason in verdict.contributions)
        return Refusal(Reason.CANNOT_TELL_YET, reasons)
    if policy.reversible == policy.destructive == "refuse":
        return Refusal(Reason.VERDICT_UNDECIDED, "the re-check could not decide")
    return "the re-check could not decide; the gate “certain” tells what that allows"


def require_certainty(inputs: GuardInput) -> str | Refusal:
    """The playbook must allow the chosen step on an undecided verdict."""
    if is_stopped_by_run(inputs):
        return _STOPPED
    if inputs.verdict is None or inputs.verdict.answer is not Answer.UNDECIDED:
        return "confirmed"
    plan = chosen_plan(inputs)
    policy = plan.playbook.undecided.of(find_action(plan.step.action).impact)
    if policy == "refuse":
        detail = f"an undecided verdict is not enough for {plan.step.action}"
        return Refusal(Reason.VERDICT_UNDECIDED, detail)
    return f"undecided; the playbook's policy for that is: {policy}"


def approval_reasons(inputs: GuardInput, plan: Plan) -> Iterator[str]:
    """The reasons why a person must approve this step in every mode; empty without any."""
    action = find_action(plan.step.action)
    if plan.step.ask or plan.step.approvals:
        yield "the step"
    if action.needs_approval:
        yield f"the action {action.name}"
    undecided = inputs.verdict is None or inputs.verdict.answer is Answer.UNDECIDED
    undecided = undecided and not is_stopped_by_run(inputs)
    if undecided and plan.playbook.undecided.of(action.impact) != "act":
        yield "the undecided verdict"
