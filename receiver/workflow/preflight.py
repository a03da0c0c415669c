"""What people have said about a step since it was decided on, asked right before its effect."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from actions.execution.step import Step
from actions.reasons import Reason
from receiver.controls import arming, overrides
from receiver.runs import store
from receiver.runs.model import Run
from receiver.settings import Mode
from receiver.workflow.steps import UNDO_FROM, plan_of


@dataclass(frozen=True, kw_only=True)
class Objections:
    """`clock` gives epoch seconds."""

    arming_required: bool
    clock: Callable[[], float]

    def to(self, connection: Connection, step: Step) -> Reason | None:
        """Why the step may not be taken after all, or None.

        What undoes or tells is not minded by a disarming: it gives back what was taken.
        """
        run = store.get(connection, step.run_id)
        if run is None or overrides.of(connection, run.labels, self.clock(), group=run.group_name):
            return Reason.OVERRIDE_HOLD
        if step.index < UNDO_FROM and self._disarmed(connection, run):
            return Reason.DISARMED
        return None

    def _disarmed(self, connection: Connection, run: Run) -> bool:
        """Whether its playbook may by now go less far than the run does."""
        plan = plan_of(run)
        name, service = plan["playbook"], plan["group"] or arming.ALL
        armed = arming.armed(
            arming.of(connection, name),
            service,
            plan.get("version", ""),
            required=self.arming_required,
        )
        mode, _ = armed.limit(name, plan["target"])
        approved = plan.get("approval") is not None
        return mode is Mode.OBSERVE or (mode is Mode.APPROVE and not approved)
