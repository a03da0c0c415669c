"""Several receivers on one PostgreSQL, with an emulated AWS."""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.chaos.wire import Wire
from demo.stack import postgres
from demo.stack.environment import begin_receiver, create_tokens, emulated_aws
from demo.stack.postgres import Postgres
from demo.stack.processes import Child, Processes, free_port, wait_announced, wait_ready
from receiver.http.access.callers import Role

# The pause before a restart, as of a container engine or systemd.
_RESTARTED_AFTER_S = 1.0
_EMULATOR = ("-m", "demo.aws.server", "--port", "0", "--seed", "7", "--speed", "10")


@dataclass(kw_only=True)
class Replica:
    """One receiver. It reaches the database through `wire`, which can be cut."""

    name: str
    url: str
    env: Mapping[str, str]
    processes: Processes
    tokens: Mapping[str, str]
    http: httpx.Client
    wire: Wire
    child: Child | None = None
    starts: int = 0

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.alive()

    @property
    def serves(self) -> bool:
        with suppress(httpx.TransportError):
            return self.call("GET", "/readyz").is_success
        return False

    def start(self) -> None:
        """Start the receiver and wait until it is ready. Raises ProcessError."""
        self.begin()
        self.ready()

    def begin(self) -> None:
        self.starts += 1
        # Each start has its own log, so that the log of a crash is kept.
        name = f"{self.name}.{self.starts}"
        self.child = begin_receiver(self.processes, self.env, name=name)

    def ready(self) -> None:
        if self.child is not None:
            wait_ready(self.child, f"{self.url}/readyz")

    def call(
        self, method: str, path: str, role: Role | None = None, **content: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return self.http.request(method, f"{self.url}{path}", headers=headers, **content)

    def deliver(self, *alerts: Mapping[str, Any]) -> httpx.Response:
        body = {"version": "4", "alerts": list(alerts)}
        return self.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)

    def gauge(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = self.call("GET", "/metrics").text.splitlines()
        (line,) = [line for line in lines if line.startswith(f"smartcloudops_{name} ")]
        return float(line.split()[1])

    def runs(self, since: float) -> list[dict[str, Any]]:
        """All runs since `since`."""
        runs: list[dict[str, Any]] = []
        cursor: str | None = ""
        start = datetime.fromtimestamp(since, UTC).isoformat()
        while cursor is not None:
            params = {"since": start, "limit": "500"} | ({"cursor": cursor} if cursor else {})
            page = self.call("GET", "/api/v1/runs", Role.VIEWER, params=params).json()
            runs += page["items"]
            cursor = page["next_cursor"]
        return runs

    def debts(self) -> list[dict[str, Any]]:
        """What runs have lent and not given back."""
        page = self.call("GET", "/api/v1/debts", Role.VIEWER).json()
        return list(page["items"])

    def leads(self) -> bool:
        with suppress(httpx.TransportError):
            return self.gauge("leading") == 1
        return False


@dataclass(kw_only=True)
class Cluster:
    """The running cluster; `aws` is the URL of the emulated AWS."""

    aws: str
    database: Postgres
    replicas: tuple[Replica, ...]
    http: httpx.Client

    def leader(self) -> Replica | None:
        """The leading replica; None unless exactly one reports that it leads."""
        leaders = [replica for replica in self.replicas if replica.alive and replica.leads()]
        return leaders[0] if len(leaders) == 1 else None

    def deliver(self, chance: random.Random, alert: Mapping[str, Any]) -> bool:
        """Post an alert to one receiver, or another if it is away. Returns whether one took it."""
        for replica in chance.sample(self.replicas, len(self.replicas)):
            with suppress(httpx.TransportError):
                return replica.deliver(alert).is_success
        return False

    def fleet(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get(f"{self.aws}/_sim/fleet").json()["items"]
        return items

    def calls(self, operation: str) -> list[dict[str, Any]]:
        lines = self.http.get(f"{self.aws}/_sim/calls").text.splitlines()
        return [call for call in map(json.loads, lines) if call["operation"] == operation]

    def inject(self, **fault: object) -> None:
        self.http.post(f"{self.aws}/_sim/faults", json=fault).raise_for_status()

    def heal(self) -> None:
        self.http.delete(f"{self.aws}/_sim/faults").raise_for_status()


@dataclass
class Supervisor:
    """Restarts each receiver one second after it ended."""

    replicas: Sequence[Replica]
    _ended: dict[str, float] = field(default_factory=dict, init=False)

    def restart_ended(self) -> None:
        now = time.monotonic()
        for replica in self.replicas:
            if replica.alive:
                self._ended.pop(replica.name, None)
            elif now - self._ended.setdefault(replica.name, now) >= _RESTARTED_AFTER_S:
                replica.begin()


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """The cluster's options: `folder` for tokens, `settings` as variables of every receiver."""

    folder: Path
    playbooks: Path
    replicas: int = 2
    settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def run_cluster(
    processes: Processes, spec: ClusterSpec, prometheus: Callable[[str, Sequence[str]], str]
) -> Iterator[Cluster]:
    """Run the cluster inside the block, which begins when all receivers are ready.

    Raises ProcessError, PostgresError, ToolsError. `prometheus` is called with the URL of AWS and
    the URLs of the receivers, and returns the URL that the receivers query for metrics.
    """
    emulator = processes.start("aws", [sys.executable, *_EMULATOR])
    tokens = create_tokens(spec.folder)
    with postgres.running(processes) as database, httpx.Client(trust_env=False, timeout=60) as http:
        aws = wait_announced(emulator)["url"]
        ports = [free_port() for _ in range(spec.replicas)]
        env = {
            **emulated_aws(aws),
            "SMARTCLOUDOPS_PROMETHEUS_URL": prometheus(
                aws, [f"http://127.0.0.1:{port}" for port in ports]
            ),
            "SMARTCLOUDOPS_PLAYBOOKS": str(spec.playbooks),
            "SMARTCLOUDOPS_TOKENS_FILE": str(spec.folder / "tokens.json"),
            "SMARTCLOUDOPS_MODE": "auto",
            **spec.settings,
        }
        replicas = []
        for number, port in enumerate(ports):
            wire = Wire(("127.0.0.1", database.port))
            own = {
                "SMARTCLOUDOPS_PORT": str(port),
                "SMARTCLOUDOPS_DATABASE_URL": database.url.replace(
                    str(database.port), str(wire.port)
                ),
            }
            replica = Replica(
                name=f"receiver-{number + 1}",
                url=f"http://127.0.0.1:{port}",
                env={**env, **own},
                processes=processes,
                tokens=tokens,
                http=http,
                wire=wire,
            )
            replica.begin()
            replicas.append(replica)
        for replica in replicas:
            replica.ready()
        try:
            yield Cluster(aws=aws, database=database, replicas=tuple(replicas), http=http)
        finally:
            for replica in replicas:
                replica.wire.close()
