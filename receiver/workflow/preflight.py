"""Checks, right before a step is sent, whether a person has forbidden it since the decision."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from actions.execution import debts
from actions.execution.step import Step
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.controls import arming, limits, overrides
from receiver.controls.records import ALL, armed_mode
from receiver.runs import store
from receiver.runs.model import Run
from receiver.workflow.steps import RunStoppedError, plan_of


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The check; `clock` gives epoch seconds."""

    arming_required: bool
    clock: Callable[[], float]

    def why_denied(self, connection: Connection, step: Step) -> Refusal | None:
        """The refusal of the step, or None.

        Overrides and disarming do not block a rollback, which limits the damage of earlier steps.
        Raises RunStoppedError if a person has stopped the rollback.
        """
        run = store.get_at_work(connection, step.run_id)
        if run is None:
            return Refusal(Reason.OVERRIDE_HOLD, f"the run {step.run_id} no longer exists")
        if step.reverses is not None:
            if debts.read_debt(connection, run.id, step.reverses.intent.step) is None:
                raise RunStoppedError(f"run {run.id} is {run.state}: its rollback was stopped")
            return None
        plan, now = plan_of(run), self.clock()
        # An approval of an earlier step has another digest.
        approved = run.approval is not None and run.approval.digest == plan.digest
        current = overrides.in_effect(connection, plan.identity, now)
        return (
            limits.require_no_hold(current, now)
            or limits.require_mode(current, approved=approved)
            or self._why_disarmed(connection, run, approved=approved)
        )

    def _why_disarmed(self, connection: Connection, run: Run, *, approved: bool) -> Refusal | None:
        """The reason why the playbook's arming no longer allows the step, or None."""
        plan = plan_of(run)
        armed = armed_mode(
            arming.armings_of(connection, plan.playbook),
            run.place,
            plan.group or ALL,
            plan.playbook_digest,
            required=self.arming_required,
        )
        return limits.require_armed(armed, plan.playbook, plan.target, approved=approved)
