"""The parts that carry runs out, wired together for the service and for tests alike."""

from collections.abc import Callable
from dataclasses import dataclass, field

from actions.execution.executor import Executor
from receiver.db.database import Database
from receiver.evidence.prometheus import Prometheus
from receiver.webhook.inbox import Inbox
from receiver.workflow.closing import Closing
from receiver.workflow.durable_queue import Enqueues
from receiver.workflow.interventions import Interventions
from receiver.workflow.metrics import RunMetrics, StepMetrics
from receiver.workflow.phases import Phases
from receiver.workflow.rollback import Finish
from receiver.workflow.steps import Stepper


@dataclass(kw_only=True)
class Workflow:
    """`wake` wakes the dispatcher; `verify_interval_s` lies between two looks at a recovery."""

    database: Database
    inbox: Inbox
    engine: Enqueues
    executor: Executor
    prometheus: Prometheus
    run_metrics: RunMetrics
    step_metrics: StepMetrics
    verify_interval_s: float
    wake: Callable[[], None]
    clock: Callable[[], float]
    closing: Closing = field(init=False)
    finish: Finish = field(init=False)
    phases: Phases = field(init=False)
    interventions: Interventions = field(init=False)

    def __post_init__(self) -> None:
        stepper = Stepper(executor=self.executor, metrics=self.step_metrics, clock=self.clock)
        self.closing = Closing(
            database=self.database,
            inbox=self.inbox,
            metrics=self.run_metrics,
            clock=self.clock,
        )
        self.finish = Finish(
            database=self.database,
            closing=self.closing,
            engine=self.engine,
            stepper=stepper,
            clock=self.clock,
        )
        self.phases = Phases(
            database=self.database,
            stepper=stepper,
            prometheus=self.prometheus,
            closing=self.closing,
            finish=self.finish,
            interval_s=self.verify_interval_s,
            clock=self.clock,
            wake=self.wake,
            engine=self.engine,
        )
        self.interventions = Interventions(
            database=self.database, finish=self.finish, clock=self.clock, wake=self.wake
        )
