"""A run that acts, from its first phase to its end, on the real durable queue."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote_plus

import httpx
import pytest
from botocore.exceptions import ReadTimeoutError
from prometheus_client import CollectorRegistry
from sqlalchemy import delete
from ulid import ULID

from actions import tables
from actions.audit import log
from actions.execution import claims, kill_switch
from actions.place import HOME
from backtest.virtual_time import AtOnce
from demo.aws.clients import clients
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError
from receiver.db.database import Database, database
from receiver.evidence.prometheus.client import Prometheus
from receiver.runs import intake, store, transitions
from receiver.runs.model import Run, State, StoredPlan
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.inbox import Inbox
from receiver.webhook.payload import Alert
from receiver.workflow.durable_queue import DurableQueue, Phase, PhaseKind
from receiver.workflow.factory import Workflow
from receiver.workflow.metrics import RunMetrics, StepMetrics
from tests import fake_prometheus
from tests.emulated_aws import HOST, emulated_aws, failing, populate
from tests.executors import claim_request, executor
from tests.plans import stored_plan

_ALERT = Alert(
    key="a" * 16,
    fingerprint="a" * 16,
    firing=True,
    labels={"alertname": "HighCPU", "instance_id": HOST},
    annotations={},
    starts_at=time.time() - 20,
    ends_at=None,
)


@dataclass
class FakePrometheus:
    """Answers every query with one value, none, or an error."""

    value: str | None = "1"
    status: int = 200
    queries: list[str] = field(default_factory=list)

    def client(self) -> httpx.Client:
        return fake_prometheus.client(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.queries.append(request.content.decode())
        if fresh := fake_prometheus.freshness(request, time.time(), 0.05):
            return fresh
        result = [] if self.value is None else [{"metric": {}, "value": [1, self.value]}]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(self.status, json={"status": "success", "data": data})


@dataclass(kw_only=True)
class Service:
    """The workflow without the dispatcher: the tests decide."""

    folder: Path
    aws: Emulator = field(default_factory=lambda: emulated_aws(time.time, 100))
    prometheus: FakePrometheus = field(default_factory=FakePrometheus)
    woken: list[str] = field(default_factory=list)
    run_id: str = ""
    plan: StoredPlan | None = None

    def start(self) -> None:
        url = f"sqlite:///{self.folder}/state.db"
        self.state: Database = database(url)
        self.state.migrate("state")
        self.inbox = Inbox(database(f"sqlite:///{self.folder}/inbox.db"), 360, lambda: None)
        self.inbox.database.migrate("inbox")
        self.inbox.start()
        self.registry = CollectorRegistry()
        self.queue = DurableQueue(url, 4, self._phase)
        workflow = Workflow(
            database=self.state,
            inbox=self.inbox,
            queue=self.queue,
            executor=executor(clients(self.aws), self.state.write, time.time),
            prometheus=Prometheus("http://prometheus", client=self.prometheus.client()),
            members=lambda *_: "",
            run_metrics=RunMetrics(self.registry, ["high-cpu"]),
            step_metrics=StepMetrics(self.registry),
            verify_interval_s=0.05,
            wake=lambda: self.woken.append("woken"),
            clock=time.time,
            pool=AtOnce(),
        )
        self.phases = workflow.phases
        self.queue.connect()
        self.queue.start()

    def _phase(self, phase: Phase) -> None:
        self.phases.handle(phase)

    def stop(self) -> None:
        self.queue.stop()
        self.queue.disconnect()
        self.inbox.stop()

    def forget(self) -> None:
        """Forget all earlier runs; the queue keeps running, since a start takes seconds."""
        populate(self.aws)
        self.prometheus.__dict__.update(vars(FakePrometheus()))
        self.woken.clear()
        self.run_id = str(ULID())
        with self.state.write() as connection:
            for table in (tables.claims, tables.attempts, tables.breakers):
                connection.execute(delete(table))
            kill_switch.set_paused(connection, paused=False, by="test", comment="reset", now=0)

    def begin(
        self,
        *,
        action: str = "reboot_instance",
        decided_ago_s: float = 0.0,
        timeout_s: float = 0.5,
        selector: str = "",
    ) -> None:
        """Record a decision to act, as the dispatcher does."""
        now = time.time()
        reboots = action == "reboot_instance"
        self.plan = stored_plan(
            action=action,
            target=HOST if reboots else "web",
            params={} if reboots else {"desired": "+2"},
            verify=replace(stored_plan().verify, timeout_s=timeout_s, selector=selector),
        )
        with self.state.write() as connection:
            intake.insert_from_inbox(
                connection, [QueuedAlert(id=self.run_id, received_at=now, alert=_ALERT)], now
            )
        self.act(self.run(), decided_ago_s=decided_ago_s)

    def act(self, run: Run, *, decided_ago_s: float = 0.0) -> None:
        """Decide on the run, for the first time or again."""
        now = time.time()
        phase = Phase.first(run.id, PhaseKind.ACT, now)
        with self.state.write() as connection:
            transitions.move(
                connection,
                run,
                State.ACTING,
                now,
                playbook="high-cpu",
                plan=self.plan,
                **vars(HOME),
                phase=phase.id,
                next_rung=1,
                steps_begun=1,
                decided_at=now - decided_ago_s,
            )
            self.queue.enqueue(connection, phase)

    def run(self) -> Run:
        with self.state.read() as connection:
            run = store.get(connection, self.run_id)
        assert run is not None
        return run

    def until(self, *states: State) -> Run:
        deadline = time.monotonic() + 20
        while (run := self.run()).state not in states:
            assert time.monotonic() < deadline, run
            time.sleep(0.02)
        return run


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(folder=tmp_path_factory.mktemp("phases"))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def service(started: Service) -> Service:
    started.forget()
    return started


def test_a_step_that_helps_ends_well_and_frees_its_target(service: Service) -> None:
    """Acted once, verified by metrics and by the host's boot time, held no longer."""
    service.begin(selector='instance="10.0.0.4:9100"')
    run = service.until(State.SUCCEEDED)
    assert service.aws.operations().count("RebootInstances") == 1
    boot_time = 'node_boot_time_seconds{instance="10.0.0.4:9100"}'
    assert any(boot_time in unquote_plus(query) for query in service.prometheus.queries)
    assert run.phase is None
    with service.state.read() as connection:
        assert not claims.claims_on(connection, HOME, HOST)[HOST].held
        assert log.verify(connection).ok
        events = [record["event"] for record in log.records(connection, run_id=service.run_id)]
    assert "step_verified" in events
    labels = {"playbook": "high-cpu", "state": "succeeded"}
    assert service.registry.get_sample_value("smartcloudops_runs_total", labels) == 1


@pytest.mark.parametrize(("value", "status"), [(None, 200), ("NaN", 200), ("1", 503)])
def test_no_data_and_no_answer_call_a_person(
    service: Service, value: str | None, status: int
) -> None:
    """The metrics cannot tell whether the step helped, so no heavier one follows."""
    service.prometheus.value, service.prometheus.status = value, status
    service.begin(action="set_desired_capacity")
    run = service.until(State.FAILED)
    assert "unknown whether set_desired_capacity helped" in (run.outcome or "")


def test_no_recovery_leads_to_the_next_step(service: Service) -> None:
    """The dispatcher is woken for the next rung."""
    service.prometheus.value = "0"
    service.begin(action="set_desired_capacity")
    run = service.until(State.DECIDING)
    assert (run.next_rung, run.steps_begun, run.phase) == (1, 1, None)
    deadline = time.monotonic() + 5
    while not service.woken:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_unknown_reboot_that_helped_is_a_success(service: Service) -> None:
    """The metrics have the last word."""
    service.aws.trouble = failing(ReadTimeoutError(endpoint_url="http://ec2"))
    service.begin()
    service.until(State.SUCCEEDED)


def test_a_refused_call_calls_a_person(service: Service) -> None:
    """AWS said no: nothing happened, so nothing shows that the step would not help."""
    service.aws.trouble = failing(AwsError("IncorrectInstanceState"), executes=False)
    service.begin()
    run = service.until(State.FAILED)
    assert "reboot_instance never ran: IncorrectInstanceState" in (run.outcome or "")


def test_a_throttled_call_is_tried_again_on_the_same_rung(service: Service) -> None:
    """AWS is busy: the step is decided again a little later."""
    service.aws.trouble = failing(AwsError("SlowDown"), executes=False)
    service.begin()
    run = service.until(State.DECIDING)
    assert (run.next_rung, run.steps_begun) == (0, 1)
    assert (run.next_act_at or 0) > time.time() + 2


def test_a_decision_that_waited_too_long_is_made_again(service: Service) -> None:
    """The world has moved on: nothing is called."""
    service.begin(decided_ago_s=61)
    run = service.until(State.DECIDING)
    assert (run.next_rung, run.steps_begun) == (0, 0)
    assert "RebootInstances" not in service.aws.operations()
    service.act(run)
    service.until(State.SUCCEEDED)
    assert service.aws.operations().count("RebootInstances") == 1


def test_a_pause_after_the_decision_refuses_by_name(service: Service) -> None:
    """The claim is the authority, not the decision."""
    with service.state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="alice", comment="stop", now=time.time())
    service.begin()
    run = service.until(State.REFUSED)
    assert run.refusal == "paused"
    assert run.gates[-1].name == "claim"
    assert "RebootInstances" not in service.aws.operations()


def test_another_runs_hold_refuses_by_name(service: Service) -> None:
    """Two decided at once: one acts."""
    with service.state.write() as connection:
        claims.acquire(connection, claim_request(HOST, "B" * 26), time.time())
    service.begin()
    assert service.until(State.REFUSED).refusal == "target_busy"


def test_reading_aws_may_be_tried_again(service: Service) -> None:
    """A describe call that fails sent nothing: the phase comes back later, and acts once."""
    unreadable = [ReadTimeoutError(endpoint_url="http://ec2")]

    def trouble(operation: str, _: str) -> None:
        if operation.startswith("Describe") and unreadable:
            raise unreadable.pop()

    service.aws.trouble = trouble
    service.begin()
    service.until(State.SUCCEEDED)
    assert service.aws.operations().count("RebootInstances") == 1


def test_a_phase_that_is_not_the_runs_own_does_nothing(service: Service) -> None:
    """A workflow that comes late, or twice."""
    service.begin()
    late = Phase.parse(service.run().phase or "")
    service.until(State.SUCCEEDED)
    service.phases.handle(late)
    service.phases.handle(replace(late, run_id="0" * 26))
    assert service.aws.operations().count("RebootInstances") == 1


def test_verification_goes_on_after_a_restart(service: Service) -> None:
    """The next process runs the phases on disk: the target recovers only after the restart."""
    service.prometheus.value = "0"
    # Longer than a restart takes.
    service.begin(action="set_desired_capacity", timeout_s=60)
    service.until(State.VERIFYING)
    service.stop()
    service.prometheus.value = "1"
    service.start()
    service.until(State.SUCCEEDED)
    assert service.aws.operations().count("SetDesiredCapacity") == 1


def test_a_hundred_copies_of_a_phase_act_once(service: Service) -> None:
    """The queue may repeat a phase: the copies find that the run has moved on."""
    service.begin()
    phase = Phase.parse(service.run().phase or "")
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(service.phases.handle, [phase] * 100))
    service.until(State.SUCCEEDED)
    assert service.aws.operations().count("RebootInstances") == 1
