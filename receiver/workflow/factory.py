"""Builds the parts that start and execute runs, for the service and for tests."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as ThreadPool
from dataclasses import dataclass, field

from actions.execution.executor import Executor
from actions.place import Place
from receiver.db.database import Database
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.pipeline import DecisionPipeline
from receiver.evidence.prometheus.client import Prometheus
from receiver.runs.target_finder import TargetFinder
from receiver.webhook.inbox import Inbox
from receiver.workflow.approvals import Approvals
from receiver.workflow.commands import RunCommands
from receiver.workflow.decision_writer import DecisionWriter
from receiver.workflow.dispatcher import Dispatcher
from receiver.workflow.durable_queue import DurableQueue
from receiver.workflow.endings.close_run import RunCloser
from receiver.workflow.endings.debt_runner import DebtRunner
from receiver.workflow.endings.escalation import Escalation
from receiver.workflow.endings.rollback import Rollback
from receiver.workflow.endings.runner import EndingRunner
from receiver.workflow.lifecycle import Lifecycle
from receiver.workflow.metrics import RunMetrics, StepMetrics
from receiver.workflow.phases import PhaseRunner
from receiver.workflow.steps import StepRunner
from receiver.workflow.verification import Verification


@dataclass(kw_only=True)
class Workflow:
    """The parts; `wake` wakes the dispatcher, `pool` runs what is captured beside steps.

    `alert_fires` has the meaning of `HealthReader`'s.
    """

    database: Database
    inbox: Inbox
    queue: DurableQueue
    executor: Executor
    prometheus: Prometheus
    members: Callable[[Place, str, str], str]
    alert_fires: Callable[[Mapping[str, str], float], bool | None] = lambda _, __: None
    run_metrics: RunMetrics
    step_metrics: StepMetrics
    verify_interval_s: float
    wake: Callable[[], None]
    clock: Callable[[], float]
    pool: ThreadPool
    demote: Callable[[], None] = lambda: None
    named_people: bool = False
    closer: RunCloser = field(init=False)
    lifecycle: Lifecycle = field(init=False)
    phases: PhaseRunner = field(init=False)
    approvals: Approvals = field(init=False)
    commands: RunCommands = field(init=False)
    debt_runner: DebtRunner = field(init=False)

    def __post_init__(self) -> None:
        step_runner = StepRunner(executor=self.executor, metrics=self.step_metrics, pool=self.pool)
        rollback = Rollback(step_runner)
        self.debt_runner = DebtRunner(database=self.database, rollback=rollback)
        self.closer = RunCloser(
            database=self.database,
            inbox=self.inbox,
            metrics=self.run_metrics,
            clock=self.clock,
            demote=self.demote,
        )
        self.lifecycle = Lifecycle(
            database=self.database,
            lead=self.executor.begin,
            queue=self.queue,
            closer=self.closer,
            step_runner=step_runner,
            verification=Verification(
                executor=self.executor,
                prometheus=self.prometheus,
                members=self.members,
                alert_fires=self.alert_fires,
            ),
            ending=EndingRunner(rollback, Escalation(step_runner)),
            verify_every_s=self.verify_interval_s,
            clock=self.clock,
            wake=self.wake,
        )
        self.phases = PhaseRunner(
            database=self.database, lifecycle=self.lifecycle, queue=self.queue, clock=self.clock
        )
        self.approvals = Approvals(
            database=self.database,
            clock=self.clock,
            wake=self.wake,
            named_people=self.named_people,
        )
        self.commands = RunCommands(
            database=self.database,
            inbox=self.inbox,
            lifecycle=self.lifecycle,
            approvals=self.approvals,
            clock=self.clock,
        )

    def make_dispatcher(
        self,
        pipeline: DecisionPipeline,
        pool: ThreadPool,
        metrics: DecisionMetrics,
        monotonic: Callable[[], float] = time.monotonic,
        lanes_of_account: int | None = None,
    ) -> Dispatcher:
        """The dispatcher, whose decisions run in `pool` and are handed to these parts."""
        return Dispatcher(
            database=self.database,
            inbox=self.inbox,
            pipeline=pipeline,
            closer=self.closer,
            writer=DecisionWriter(lifecycle=self.lifecycle, metrics=metrics, clock=self.clock),
            phases=self.phases,
            metrics=metrics,
            targets=TargetFinder(
                database=self.database,
                find=lambda run: pipeline.subject_of(run).target,
                pool=pipeline.pool,
            ),
            pool=pool,
            clock=self.clock,
            monotonic=monotonic,
            lanes_of_account=lanes_of_account,
        )
