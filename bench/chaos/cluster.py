"""Several receivers on one PostgreSQL, and the emulated AWS that they act on."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo.stack import postgres
from demo.stack.environment import begin_receiver
from demo.stack.postgres import Postgres
from demo.stack.processes import Child, Processes, free_port, wait_announced, wait_ready
from receiver.http import tokens
from receiver.http.tokens import Role

# As a container engine or systemd does.
_RESTARTED_AFTER_S = 1.0
_EMULATOR = ("-m", "demo.aws.server", "--port", "0", "--seed", "7", "--speed", "10")
_CHUNK = 65_536
# The file in the cluster's folder with the webhook's token.
TOKEN = "webhook-token"  # noqa: S105 a file's name


@dataclass(kw_only=True)
class Replica:
    """One receiver. It reaches the database through `wire`, which can be cut."""

    name: str
    url: str
    env: Mapping[str, str]
    processes: Processes
    tokens: Mapping[str, str]
    http: httpx.Client
    wire: "Wire"
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
        """Start it and wait until it is ready. Raises ProcessError."""
        self.begin()
        self.ready()

    def begin(self) -> None:
        self.starts += 1
        # A log of its own each time: what killed the last one must not get lost.
        name = f"{self.name}.{self.starts}"
        self.child = begin_receiver(self.processes, self.env, name=name)

    def ready(self) -> None:
        if self.child is not None:
            wait_ready(self.child, f"{self.url}/readyz")

    def call(self, method: str, path: str, role: Role | None = None, **sent: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return self.http.request(method, f"{self.url}{path}", headers=headers, **sent)

    def deliver(self, *alerts: Mapping[str, Any]) -> httpx.Response:
        body = {"version": "4", "alerts": list(alerts)}
        return self.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)

    def gauge(self, name: str) -> float:
        """A metric without labels."""
        lines = self.call("GET", "/metrics").text.splitlines()
        (line,) = [line for line in lines if line.startswith(f"smartcloudops_{name} ")]
        return float(line.split()[1])

    def leads(self) -> bool:
        with suppress(httpx.TransportError):
            return self.gauge("leading") == 1
        return False


@dataclass(kw_only=True)
class Cluster:
    """`aws` is the URL of the emulated one."""

    aws: str
    database: Postgres
    replicas: tuple[Replica, ...]
    http: httpx.Client

    def leader(self) -> Replica | None:
        """The one that acts, while exactly one says so."""
        found = [one for one in self.replicas if one.alive and one.leads()]
        return found[0] if len(found) == 1 else None

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
    """Starts a receiver again soon after it ended, whenever it looks."""

    replicas: Sequence[Replica]
    _ended: dict[str, float] = field(default_factory=dict, init=False)

    def look(self) -> None:
        now = time.monotonic()
        for one in self.replicas:
            if one.alive:
                self._ended.pop(one.name, None)
            elif now - self._ended.setdefault(one.name, now) >= _RESTARTED_AFTER_S:
                one.begin()


@dataclass
class Wire:
    """A TCP connection to the database that a test may cut: nothing passes, nothing is closed."""

    to: tuple[str, int]
    port: int = field(init=False)
    _whole: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._whole.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._whole.wait()
                try:
                    far = socket.create_connection(self.to)
                except OSError:
                    near.close()
                    continue
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def cluster(  # noqa: PLR0913 each is one fact about it, by name
    processes: Processes,
    folder: Path,
    *,
    playbooks: Path,
    prometheus: Callable[[str, Sequence[str]], str],
    replicas: int = 2,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """The cluster, up and with a leader soon. Raises ProcessError, PostgresError, ToolsError.

    `prometheus` gets AWS' URL and the receivers', and gives the URL that these ask for metrics.
    """
    emulator = processes.start("aws", [sys.executable, *_EMULATOR])
    made = {str(role): tokens.create(folder / "tokens.json", role, str(role)) for role in Role}
    (folder / TOKEN).touch(mode=0o600)
    (folder / TOKEN).write_text(made[Role.WEBHOOK])
    with postgres.running(processes) as database, httpx.Client(trust_env=False, timeout=60) as http:
        aws = wait_announced(emulator)["url"]
        ports = [free_port() for _ in range(replicas)]
        env = {
            "AWS_ENDPOINT_URL": aws,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SMARTCLOUDOPS_PROMETHEUS_URL": prometheus(
                aws, [f"http://127.0.0.1:{port}" for port in ports]
            ),
            "SMARTCLOUDOPS_PLAYBOOKS": str(playbooks),
            "SMARTCLOUDOPS_TOKENS_FILE": str(folder / "tokens.json"),
            "SMARTCLOUDOPS_MODE": "auto",
            **(settings or {}),
        }
        members = []
        for number, port in enumerate(ports):
            wire = Wire(("127.0.0.1", database.port))
            own = {
                "SMARTCLOUDOPS_PORT": str(port),
                "SMARTCLOUDOPS_DATABASE_URL": database.url.replace(
                    str(database.port), str(wire.port)
                ),
            }
            one = Replica(
                name=f"receiver-{number + 1}",
                url=f"http://127.0.0.1:{port}",
                env={**env, **own},
                processes=processes,
                tokens=made,
                http=http,
                wire=wire,
            )
            one.begin()
            members.append(one)
        for one in members:
            one.ready()
        try:
            yield Cluster(aws=aws, database=database, replicas=tuple(members), http=http)
        finally:
            for one in members:
                one.wire.close()
