"""Checks right before a step's call whether people have forbidden it since the decision."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from actions.execution.step import Step
from actions.reasons import Reason
from receiver.controls import arming, overrides
from receiver.runs import store
from receiver.runs.model import Run
from receiver.settings import Mode
from receiver.workflow.steps import ROLLBACK_FROM, plan_of


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """`clock` gives epoch seconds."""

    arming_required: bool
    clock: Callable[[], float]

    def why_denied(self, connection: Connection, step: Step) -> Reason | None:
        """Why the step may not be performed after all, or None.

        Disarming does not block rollback or escalation: both limit the damage of earlier steps.
        """
        run = store.get(connection, step.run_id)
        if run is None:
            return Reason.OVERRIDE_HOLD
        if overrides.in_effect(connection, run.labels, self.clock(), group=run.group_name):
            return Reason.OVERRIDE_HOLD
        if step.index < ROLLBACK_FROM and self._disarmed(connection, run):
            return Reason.DISARMED
        return None

    def _disarmed(self, connection: Connection, run: Run) -> bool:
        """Whether the playbook's arming no longer allows what the run does."""
        plan = plan_of(run)
        playbook, service = plan["playbook"], plan["group"] or arming.ALL
        armed = arming.armed_mode(
            arming.armings_of(connection, playbook),
            service,
            plan["version"],
            required=self.arming_required,
        )
        mode, _ = armed.limit(playbook, plan["target"])
        approved = plan.get("approval") is not None
        return mode is Mode.OBSERVE or (mode is Mode.APPROVE and not approved)
