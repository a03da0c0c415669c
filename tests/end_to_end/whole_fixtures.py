"""The whole service without its threads: every step is taken when the test says so.

It is built as `serve` builds it; only Prometheus, AWS, the model, the durable engine and the clock
are stood in for, at the edge.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

from actions.aws.client_set import Aws
from actions.messaging import Messenger, NullMessenger
from actions.place import Place
from backtest.virtual_time import AtOnce, HeldQueue
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import Group
from models.features.evidence import Evidence
from models.inference.verdict import Answer, Verdict
from receiver.edges import Edges
from receiver.playbooks.loader import load
from receiver.runs import intake
from receiver.runs.model import Run, State
from receiver.runs.queries import search
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Mode, Settings
from receiver.system import build
from receiver.webhook.payload import parse_alert
from receiver.workflow.endings.debt_runner import DebtRunner
from tests import fake_prometheus, fresh_databases
from tests.emulated_aws import is_act

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
    # How often samples come, and how old the newest one is.
    scraped_s: float = 5.0
    lag_s: float = 0.0
    # No sample is newer than this.
    scraped_until: float = math.inf
    # Whether a target has its share of the traffic.
    loaded: str = "1"
    # Whether a host's own metrics show its reboot; None if it has none.
    booted: str | None = "1"
    firing: set[tuple[str, str]] = field(default_factory=set)
    # The labels of the alerts that Alertmanager lists, each just received; None if it is away.
    active: list[Mapping[str, str]] | None = None
    # The silences that it lists; None if it does not answer.
    silences: list[Mapping[str, Any]] | None = None
    # Whether the rules are evaluated elsewhere, so that Prometheus has no `ALERTS`.
    elsewhere: bool = False
    arming_required: bool = False
    # Further settings.
    settings: Mapping[str, Any] = field(default_factory=dict)
    messenger: Messenger = field(default_factory=NullMessenger)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # The file of accounts, and the clients of its places.
    accounts: Path | None = None
    aws_at: Callable[[Place], Aws] | None = None
    # How often the receiver looks.
    looks_every_s: float = 5.0
    # How often the metrics of an instance break the decision that reads them.
    breaks: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aws = Emulator(Core(self.clock), watched=is_act)
        self.queue = HeldQueue(clock=self.clock)
        fresh_databases.copy_into(self.folder)
        (self.folder / "playbooks").mkdir(exist_ok=True)
        (self.folder / "playbooks" / "one.yaml").write_text(self.playbook)
        self.start()

    def clock(self) -> float:
        return self.now

    def clients(self) -> Aws:
        return clients(self.aws)

    def start(self) -> None:
        """Build the service, as after a crash: all that is left is on disk."""
        if hasattr(self, "service"):
            self.close()
        self.playbooks = load(self.folder / "playbooks")
        settings = Settings(
            database_url=f"sqlite:///{self.folder}/state.db",
            prometheus_url="http://prometheus",
            playbooks=self.folder / "playbooks",
            accounts=self.accounts,
            mode=self.mode,
            audit_archive=str(self.folder / "audit"),
            arming_required=self.arming_required,
            **self.settings,
            episode_gap_s=360,
            verify_interval_s=5,
        )
        edges = Edges(
            aws=self.clients(),
            aws_at=self.aws_at,
            messenger=self.messenger,
            prometheus=fake_prometheus.client(self._answer, self.clock),
            alertmanager=httpx.Client(transport=httpx.MockTransport(self._list_alerts)),
            judge=self._judge,
            queue=self.queue.serve,
            pool=AtOnce,
            clock=self.clock,
            monotonic=self.clock,
        )
        self.service = build(settings, self.playbooks, edges)
        self.state, self.inbox = self.service.database, self.service.inbox
        self.state.migrate("state")
        self.inbox.database.migrate("inbox")
        self.inbox.start()
        self.registry, self.commands = self.service.registry, self.service.commands
        self.dispatcher = self.service.dispatcher
        tasks = self.service.leader_tasks
        (self.debts,) = (task for task in tasks if isinstance(task, DebtRunner))
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
            self.queue.handle(phase)
            self.queue.done(phase)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in the steps in which the receiver looks."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + self.looks_every_s)
            self.debts.run_once()
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
        with self.state.read() as connection:
            return [
                run
                for state in flying
                for run in search.list_runs(connection, search.RunFilter(state=state))
            ]

    def _judge(self, evidence: Evidence, roles: Collection[str]) -> Verdict:
        del roles
        if self.breaks.get(evidence.target):
            self.breaks[evidence.target] -= 1
            raise ArithmeticError(evidence.target)
        return self.verdicts.get(evidence.target, verdict())

    def _list_alerts(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/silences") and self.silences is not None:
            return httpx.Response(200, json=self.silences)
        if self.active is None or request.url.path.endswith("/silences"):
            return httpx.Response(503)
        if request.url.path.endswith("/status"):
            return httpx.Response(200, json={"uptime": rfc3339(self.now - 86_400)})
        told = {"name": "smartcloudops"}
        sent = {
            "updatedAt": rfc3339(self.now),
            "generatorURL": "http://vmalert:8880/x",
            "receivers": [told],
            "status": {"state": "active", "mutedBy": []},
        }
        listed = [{"labels": dict(labels), **sent} for labels in self.active]
        if request.url.path.endswith("/groups"):
            groups = [{"labels": {}, "receiver": told, "alerts": listed}]
            return httpx.Response(200, json=groups)
        return httpx.Response(200, json=listed)

    def _fail(self) -> httpx.Response:
        if self.recovered == "broken":
            raise ArithmeticError
        return httpx.Response(503, json={"status": "error", "error": "down"})

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("query_range"):
            data: dict[str, Any] = {"resultType": "matrix", "result": []}
            return httpx.Response(200, json={"status": "success", "data": data})
        if request.url.path.endswith("/rules"):
            return httpx.Response(200, json={"status": "success", "data": {"groups": []}})
        if self.recovered in (None, "broken"):
            return self._fail()
        newest = min(self.now - self.lag_s, self.scraped_until) // self.scraped_s * self.scraped_s
        if fresh := fake_prometheus.freshness(request, newest, self.scraped_s):
            return fresh
        result: list[dict[str, Any]] = [{"metric": {}, "value": [self.now, self.recovered]}]
        query = parse_qs(request.content.decode())["query"][0]
        if "node_network_receive_bytes_total" in query:
            result[0]["value"][1] = self.loaded
        if "node_boot_time_seconds" in query:
            result = [] if self.booted is None else result
            for sample in result:
                sample["value"][1] = self.booted
        if self.elsewhere and "ALERTS{" in query:
            result = []
        elif self.firing and query.startswith("ALERTS{"):
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
