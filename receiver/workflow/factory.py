"""Builds the parts that execute runs, for the service and for tests."""

from collections.abc import Callable
from dataclasses import dataclass, field

from actions.execution.executor import Executor
from receiver.db.database import Database
from receiver.evidence.prometheus.client import Prometheus
from receiver.webhook.inbox import Inbox
from receiver.workflow.close_run import RunCloser, RunFinisher
from receiver.workflow.commands import RunCommands
from receiver.workflow.durable_queue import PhaseQueue
from receiver.workflow.escalation import Escalation
from receiver.workflow.metrics import RunMetrics, StepMetrics
from receiver.workflow.phases import Phases
from receiver.workflow.recovery import Recovery
from receiver.workflow.rollback import Rollback
from receiver.workflow.steps import StepRunner
from receiver.workflow.verification import Verification


@dataclass(kw_only=True)
class Workflow:
    """The parts; `wake` wakes the dispatcher, `verify_interval_s` is the verifications' pause."""

    database: Database
    inbox: Inbox
    queue: PhaseQueue
    executor: Executor
    prometheus: Prometheus
    run_metrics: RunMetrics
    step_metrics: StepMetrics
    verify_interval_s: float
    wake: Callable[[], None]
    clock: Callable[[], float]
    closer: RunCloser = field(init=False)
    finisher: RunFinisher = field(init=False)
    phases: Phases = field(init=False)
    recovery: Recovery = field(init=False)
    commands: RunCommands = field(init=False)

    def __post_init__(self) -> None:
        step_runner = StepRunner(executor=self.executor, metrics=self.step_metrics)
        self.closer = RunCloser(
            database=self.database,
            inbox=self.inbox,
            metrics=self.run_metrics,
            clock=self.clock,
        )
        self.finisher = RunFinisher(
            database=self.database,
            closer=self.closer,
            queue=self.queue,
            rollback=Rollback(step_runner=step_runner),
            escalation=Escalation(step_runner=step_runner),
            clock=self.clock,
        )
        self.phases = Phases(
            database=self.database,
            step_runner=step_runner,
            verification=Verification(executor=self.executor, prometheus=self.prometheus),
            finisher=self.finisher,
            interval_s=self.verify_interval_s,
            clock=self.clock,
            wake=self.wake,
            queue=self.queue,
        )
        self.recovery = Recovery(
            database=self.database, inbox=self.inbox, queue=self.queue, clock=self.clock
        )
        self.commands = RunCommands(
            database=self.database,
            inbox=self.inbox,
            finisher=self.finisher,
            clock=self.clock,
            wake=self.wake,
        )
