"""Checks right before a step's call whether people have forbidden it since the decision."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

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
    """`clock` gives epoch seconds."""

    arming_required: bool
    clock: Callable[[], float]

    def why_denied(self, connection: Connection, step: Step) -> Refusal | None:
        """Why the step may not be performed after all, or None.

        Overrides and disarming do not block a rollback: it limits the damage of earlier steps.
        Raises RunStoppedError where a person has stopped the rollback.
        """
        run = store.get(connection, step.run_id)
        if run is None:
            return Refusal(Reason.OVERRIDE_HOLD, f"the run {step.run_id} no longer exists")
        if step.reverses is not None:
            if run.state.ended:
                raise RunStoppedError(f"run {run.id} is {run.state}")
            return None
        current = overrides.in_effect(connection, plan_of(run)["identity"], self.clock())
        refusal = limits.require_no_hold(current) or limits.require_no_observe(current)
        return refusal or self._why_disarmed(connection, run)

    def _why_disarmed(self, connection: Connection, run: Run) -> Refusal | None:
        """Why the playbook's arming no longer allows what the run does, or None."""
        plan = plan_of(run)
        playbook = plan["playbook"]
        armed = armed_mode(
            arming.armings_of(connection, playbook),
            plan["group"] or ALL,
            plan["version"],
            required=self.arming_required,
        )
        approved = plan.get("approval") is not None
        return limits.require_armed(armed, playbook, plan["target"], approved=approved)
