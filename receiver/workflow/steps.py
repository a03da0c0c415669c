"""One step of a run's plan: what it is, and having it performed and counted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from actions.base import TargetKind
from actions.catalog.registry import CATALOG
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.execution.step import Step
from actions.reasons import Reason
from receiver.playbooks.schema import Limits
from receiver.runs.model import Run
from receiver.workflow.metrics import StepMetrics

# Steps of a run's ladder count from 0; what goes with them has numbers above these.
PREPARE_FROM, UNDO_FROM, TELL_FROM = 100, 1_000, 2_000
_PREPARED_MOST = 10
DENIED = {
    Reason.PAUSED: "a person paused it before it could act",
    Reason.TARGET_BUSY: "another run took the target first",
    Reason.COOLDOWN: "another run acted on the target first",
    Reason.OVERRIDE_HOLD: "a person holds it since",
    Reason.DISARMED: "the playbook was disarmed before it could act",
    Reason.RATE_LIMIT: "other runs used up what may be done meanwhile",
    Reason.BREAKER_OPEN: "the playbook's breaker opened meanwhile",
    Reason.BLAST_RADIUS: "too many others are out of service by now",
    Reason.MIN_HEALTHY: "too few others serve by now",
}


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """Has steps performed; `clock` gives epoch seconds."""

    executor: Executor
    metrics: StepMetrics
    clock: Callable[[], float]

    def perform(self, run: Run, step: Step) -> Intent | Reason:
        """As `Executor.execute`, and counted."""
        started = self.clock()
        performed = self.executor.execute(step)
        if isinstance(performed, Intent):
            self._count(run, performed, self.clock() - started)
        return performed

    def _count(self, run: Run, done: Intent, seconds: float) -> None:
        if done.outcome is not None:
            self.metrics.outcomes.labels(done.action, done.outcome).inc()
        self.metrics.duration.labels(done.action).observe(seconds)
        if done.dispatched_at is not None and done.step == 0:
            self.metrics.alert_to_action.observe(max(0.0, done.dispatched_at - run.starts_at))


def plan_of(run: Run) -> Mapping[str, Any]:
    if run.plan is None:
        raise LookupError("the run has no plan")
    return run.plan


def step_of(run: Run) -> Step:
    plan = plan_of(run)
    limits = Limits.model_construct(**plan["limits"])
    return Step(
        run_id=run.id,
        index=run.steps_begun - 1,
        action=CATALOG[plan["action"]],
        target=plan["target"],
        params=plan["params"],
        playbook=plan["playbook"],
        group=plan["group"],
        cooldown_s=plan["cooldown_s"],
        rates=limits.rates,
        bounds=limits.bounds,
        must_be_free=plan["beside"],
    )


def preparing(run: Run) -> Iterator[Step]:
    """What is done before the step that the run is at."""
    plan, step = plan_of(run), step_of(run)
    for number, one in enumerate(plan["before"]):
        action = CATALOG[one["action"]]
        of_group = action.target is TargetKind.GROUP
        yield replace(
            step,
            index=PREPARE_FROM + _PREPARED_MOST * step.index + number,
            action=action,
            target=plan["group"] if of_group else plan["target"],
            params=one["params"],
            cooldown_s=0.0,
            must_be_free=(),
            counts=False,
        )
