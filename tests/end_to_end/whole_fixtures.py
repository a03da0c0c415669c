"""The whole receiver without its threads: every step is taken when the test says so.

Real records, decisions, guards, claims, phases and endings; only Prometheus, AWS, the durable
engine and the clock are stood in for, at the edge.
"""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from actions.execution.executor import Executor
from actions.messaging import Messenger, NullMessenger
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import Group
from models.features.evidence import Evidence
from models.inference.verdict import Answer, Verdict
from receiver.db.database import Database, database
from receiver.decision.alerting import AlertingReader
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.pipeline import DecisionPipeline
from receiver.decision.snapshot import SnapshotReader
from receiver.evidence.aws_state import AwsReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.target import Target
from receiver.playbooks.loader import load
from receiver.runs import intake, search
from receiver.runs.model import Run, State
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Mode
from receiver.webhook.inbox import Inbox
from receiver.webhook.payload import parse_alert
from receiver.workflow.durable_queue import DurableQueue, Phase
from receiver.workflow.factory import Workflow
from receiver.workflow.metrics import RunMetrics, StepMetrics
from receiver.workflow.preflight import Preflight
from tests import fake_prometheus

PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
cooldown: 5m
steps:
  - action: set_desired_capacity
    params: {desired: "+50%"}
    when: group.surging
  - action: reboot_instance
  - action: replace_instance
verify: {expr: recovered, for: 10s, timeout: 60s}
rollback: true
"""


class AtOnce(futures.Executor):
    """Runs what it is given right away."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        future: futures.Future[Any] = futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 as an executor does
            future.set_exception(error)
        return future


@dataclass
class Held(DurableQueue):
    """A durable queue without DBOS: phases wait until they are due, also over a crash."""

    url: str = ""
    workers: int = 0
    handle: Callable[[Phase], None] = lambda _: None
    clock: Callable[[], float] = time.time
    waiting: dict[str, tuple[float, Phase]] = field(default_factory=dict)

    def enqueue(self, connection: Connection, phase: Phase, *, delay_s: float = 0) -> None:
        del connection
        self.waiting.setdefault(phase.id, (self.clock() + delay_s, phase))

    def begin(self, connection: Connection, phase: Phase) -> Callable[[], object]:
        """A test runs the phase when it wants to."""
        self.enqueue(connection, phase)
        return lambda: None

    def due(self) -> Phase | None:
        """A phase that is due; it waits on until it is `done`."""
        ready = [(at, key) for key, (at, _) in self.waiting.items() if at <= self.clock()]
        return self.waiting[min(ready)[1]][1] if ready else None

    def done(self, phase: Phase) -> None:
        del self.waiting[phase.id]


@dataclass
class Whole:
    """A receiver in `folder`.

    `verdicts` by instance, `recovered` is what Prometheus says. `firing` are the alerts, by name
    and instance, that Prometheus fires; without any, `recovered` answers that query, too.
    """

    folder: Path
    playbook: str = PLAYBOOK
    now: float = 1_800_000_000.0
    mode: Mode = Mode.AUTO
    recovered: str | None = "1"
    firing: set[tuple[str, str]] = field(default_factory=set)
    arming_required: bool = False
    messenger: Messenger = field(default_factory=NullMessenger)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # How often the metrics of an instance break the decision that reads them.
    breaks: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aws = Emulator(Core(self.clock))
        self.queue = Held(clock=self.clock)
        (self.folder / "playbooks").mkdir(exist_ok=True)
        (self.folder / "playbooks" / "one.yaml").write_text(self.playbook)
        self.state: Database = database(f"sqlite:///{self.folder}/state.db")
        self.state.migrate("state")
        self.inbox = Inbox(database(f"sqlite:///{self.folder}/inbox.db"), 360, lambda: None)
        self.inbox.database.migrate("inbox")
        self.inbox.start()
        self.start()

    def clock(self) -> float:
        return self.now

    def start(self) -> None:
        """Put the parts together, as after a crash: all that is left is on disk."""
        self.registry = CollectorRegistry()
        decision_metrics = DecisionMetrics(self.registry)
        aws = clients(self.aws)
        prometheus = Prometheus(
            "http://prometheus",
            client=fake_prometheus.client(self._answer, self.clock),
            clock=self.clock,
        )
        self.playbooks = load(self.folder / "playbooks")
        self.preflight = Preflight(arming_required=self.arming_required, clock=self.clock)
        aws_reader = AwsReader(aws=aws, pool=AtOnce(), trail=True, monotonic=self.clock)
        workflow = Workflow(
            database=self.state,
            inbox=self.inbox,
            queue=self.queue,
            executor=Executor(
                aws=aws,
                recent_scopes=aws_reader.recent_scopes,
                messenger=self.messenger,
                begin=self.state.write,
                clock=self.clock,
                forbids=self.preflight.why_denied,
                check=lambda: None,
            ),
            prometheus=prometheus,
            run_metrics=RunMetrics(self.registry, ["high-cpu"]),
            step_metrics=StepMetrics(self.registry),
            verify_interval_s=5,
            wake=lambda: None,
            clock=self.clock,
        )
        self.phases, self.commands = workflow.phases, workflow.commands
        snapshots = SnapshotReader(
            database=self.state,
            aws=aws_reader,
            alerting=AlertingReader(
                playbooks=self.playbooks,
                prometheus=prometheus,
                resolved=self.inbox.resolved,
            ),
            mode=self.mode,
            gap_s=360,
            arming_required=self.arming_required,
            episodes=self.inbox.episodes_of,
        )
        pipeline = DecisionPipeline(
            playbooks=self.playbooks,
            snapshots=snapshots,
            prometheus=prometheus,
            pool=AtOnce(),
            gather=self._gather,
            judge=self._judge,
            clock=self.clock,
            metrics=decision_metrics,
        )
        self.dispatcher = workflow.make_dispatcher(
            pipeline, AtOnce(), decision_metrics, monotonic=self.clock
        )
        self.dispatcher.recover()

    def close(self) -> None:
        self.inbox.stop()
        self.state.engine.dispose()

    def group(self, name: str = "web-asg", size: int = 6) -> list[str]:
        """Make a group; its members' ids."""
        number = 100 * len(self.aws.world.groups)
        ids = [f"i-{number + offset:017x}" for offset in range(size)]
        return self.aws.world.add_group(Group(name, 2, 12, size), ids, self.now - 86_400)

    def deliver(
        self,
        instance_id: str,
        *,
        firing: bool = True,
        group: str = "web-asg",
        cpu: str = "",
        began_s: float = 20,
    ) -> None:
        """An alert, or its end, as Alertmanager sends it; about one `cpu` where it is named."""
        labels = {"alertname": "HighCPU", "instance_id": instance_id, "asg": group, "cpu": cpu}
        self.deliver_labels(labels, firing=firing, began_s=began_s)

    def deliver_labels(
        self, *labels: Mapping[str, str], firing: bool = True, began_s: float = 20
    ) -> None:
        """Deliver alerts with just these labels, as any holder of a webhook token can."""
        times = {"startsAt": rfc3339(self.now - began_s)}
        if not firing:
            times["endsAt"] = rfc3339(self.now)
        status = "firing" if firing else "resolved"
        alerts = []
        for each in labels:
            raw = {"status": status, "labels": each, "annotations": {}, **times}
            alert = parse_alert(raw, self.now)
            assert alert is not None
            alerts.append(alert)
        self.inbox.submit(alerts, self.now).result()
        queued = self.inbox.queued()
        with self.state.write() as connection:
            intake.insert_from_inbox(connection, queued, self.now)
        self.inbox.remove([alert.id for alert in queued])

    def work(self) -> None:
        """Decide on what waits, and run what is due, until neither is left."""
        while True:
            self.dispatcher.dispatch()
            phase = self.queue.due()
            if phase is None:
                return
            self.phases.handle(phase)
            self.queue.done(phase)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in the steps in which the receiver looks."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 5)
            self.work()

    def runs(self) -> list[Run]:
        with self.state.read() as connection:
            return list(search.list_runs(connection, limit=2000))

    def only(self) -> Run:
        (run,) = self.runs()
        return run

    def approve(self, by: str) -> None:
        """Approve the plan of the newest run."""
        run = self.runs()[0]
        assert run.plan is not None
        self.commands.approve(run.id, by, "go", plan=run.plan.digest)

    def in_flight(self) -> list[Run]:
        flying = (State.ACTING, State.VERIFYING, State.ROLLING_BACK)
        return [run for run in self.runs() if run.state in flying]

    def _gather(self, target: Target, at: float, roles: Collection[str]) -> Callable[[], Evidence]:
        del roles
        name = target.id or ""
        if self.breaks.get(name):
            self.breaks[name] -= 1
            raise ArithmeticError(name)
        return partial(Evidence, target=name, at=at)

    def _judge(self, evidence: Evidence, roles: Collection[str]) -> Verdict:
        del roles
        return self.verdicts.get(evidence.target, verdict())

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.recovered == "broken":
            raise ArithmeticError
        if self.recovered is None:
            return httpx.Response(503, json={"status": "error", "error": "down"})
        result: list[dict[str, Any]] = [{"metric": {}, "value": [self.now, self.recovered]}]
        query = parse_qs(request.content.decode())["query"][0]
        if self.firing and query.startswith("ALERTS{"):
            result = [
                {"metric": {"alertname": name, "instance_id": target}, "value": [self.now, "1"]}
                for name, target in self.firing
                if target in query
            ]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})


def verdict(answer: Answer = Answer.CONFIRMED, *, surging: bool = False) -> Verdict:
    return Verdict(
        answer=answer,
        score=0.9,
        confidence=0.9,
        model="test",
        contributions=(),
        peers=5,
        peers_moved=5 if surging else 0,
        surging=surging,
    )
