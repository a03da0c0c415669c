"""The whole service over real HTTP in this process, so that a test sees what it does to AWS.

AWS is emulated in process, and Prometheus is a local server that gives every query the same answer.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from actions.aws.client_set import Aws
from actions.place import Place
from bench.load.traffic import answer_form
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Timings
from demo.aws.world import Group
from receiver.app import Api, app
from receiver.chat.wiring import make_chat
from receiver.edges import Edges
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.http.server import options as server_options
from receiver.notify.channels import Channels
from receiver.playbooks.loader import load
from receiver.runs.model import State
from receiver.service import Service
from receiver.settings import Settings
from receiver.sso.sign_on import make_sign_on
from receiver.system import build
from tests import fresh_databases
from tests.emulated_aws import is_act

GROUP = "web-asg"
HOSTS = [f"i-{number:017x}" for number in range(6)]
PLAYBOOK = """
name: NAME
match: ['alertname="NAME"']
mode: auto
cooldown: 5m
limits: {relapse: 0s}
recheck: [up]
steps: [STEP]
verify: {expr: up, for: 0s, timeout: 60s}
"""
_STEPS = {
    "acting": "{action: reboot_instance}",
    "asking": "{action: reboot_instance, ask: true}",
    "paired": "{action: reboot_instance, approvals: {people: 2, not: [requester]}}",
    "growing-slowly": '{action: set_desired_capacity, params: {desired: "+1"}, ask: true}',
    "growing": '{action: set_desired_capacity, params: {desired: "+1"}}',
}
_ANSWERED_S = 20.0
_OVER = [state for state in State if state.ended]


@dataclass
class Answering:
    """A Prometheus that answers every query with `value`; with None, with nothing."""

    value: str | None = "1"
    url: str = ""


@dataclass(kw_only=True)
class Live:
    """A service that runs here. `tokens` are secrets by role."""

    folder: Path
    url: str
    system: Service
    aws: Emulator
    application: Api
    prometheus: Answering
    tokens: Mapping[Role, str]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=60))

    def call(
        self,
        method: str,
        path: str,
        role: Role | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **sent: Any,
    ) -> httpx.Response:
        own = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return self.http.request(
            method, f"{self.url}{path}", headers={**own, **(headers or {})}, **sent
        )

    def start(self, playbook: str, target: str, *, dry_run: bool = False) -> dict[str, Any]:
        """A run by hand."""
        body = {"playbook": playbook, "target": target, "comment": "try", "dry_run": dry_run}
        answer = self.call("POST", "/api/v1/runs", Role.OPERATOR, json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return dict(answer.json())

    def until(self, run_id: str, *states: str) -> dict[str, Any]:
        """The run's story, once it is in one of these states."""
        deadline = time.monotonic() + _ANSWERED_S
        while True:
            story = dict(self.call("GET", f"/api/v1/runs/{run_id}", Role.VIEWER).json())
            if story["state"] in states:
                return story
            assert time.monotonic() < deadline, story
            time.sleep(0.05)

    def asking(self, target: str) -> dict[str, Any]:
        """A run that waits for a person."""
        return self.until(self.start("asking", target)["id"], "awaiting_approval")

    def approve(self, run: Mapping[str, Any], role: Role = Role.OPERATOR) -> httpx.Response:
        """Approve the plan that this run shows."""
        body = {"comment": "go", "plan": run["plan"]["digest"]}
        return self.call("POST", f"/api/v1/runs/{run['id']}/approve", role, json=body)

    def hold(self, asg: str) -> dict[str, Any]:
        """Hold all alerts of a group for an hour."""
        ends = datetime.now(UTC) + timedelta(hours=1)
        body = {
            "matchers": [{"name": "asg", "value": asg}],
            "effect": "hold",
            "ends_at": ends.isoformat(),
            "comment": "migration",
        }
        answer = self.call("POST", "/api/v1/overrides", Role.OPERATOR, json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return dict(answer.json())

    def audit(self, run_id: str | None = None) -> list[dict[str, Any]]:
        query = f"&run={run_id}" if run_id else ""
        answer = self.call("GET", f"/api/v1/audit?limit=1000{query}", Role.VIEWER)
        return list(answer.json()["items"])

    def forget(self) -> None:
        """Let runs end, end all holds and cooldowns as a person would, and restore the group."""
        for state in ("received", "deciding", "acting", "verifying", "rolling_back"):
            for run in self.call("GET", f"/api/v1/runs?state={state}", Role.VIEWER).json()["items"]:
                self.until(run["id"], *_OVER)
        for override in self.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"]:
            self.call("DELETE", f"/api/v1/overrides/{override['id']}", Role.OPERATOR)
        for cooldown in self.call("GET", "/api/v1/cooldowns", Role.VIEWER).json()["items"]:
            self.call("DELETE", f"/api/v1/cooldowns/{cooldown['target']}", Role.OPERATOR)
        _restore_group(self.aws)


def _restore_group(aws: Emulator) -> None:
    with aws.lock:
        for instance in aws.world.instances.values():
            instance.state = "terminated"
        aws.world.add_group(Group(GROUP, 2, 12, len(HOSTS)), HOSTS, time.time() - 86_400)


@contextmanager
def prometheus() -> Iterator[Answering]:
    answering = Answering()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"]))
            body = answer_form(form, answering.value)
            self.send_response(httpx.codes.OK)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        answering.url = f"http://127.0.0.1:{server.server_port}"
        with _served(server.serve_forever, server.shutdown):
            yield answering


@contextmanager
def live(
    folder: Path,
    *,
    services: Channels | None = None,
    client: httpx.Client | None = None,
    certificates: httpx.Client | None = None,
    aws_at: Callable[[Place], Aws] | None = None,
    **changed: Any,
) -> Iterator[Live]:
    """A service with a group of six, and a playbook for each of `_STEPS`.

    With a `client`, which takes it to chats and models, the chat of the settings is on.
    `certificates` fetches those of Amazon SNS, `aws_at` gives the clients of an account and region.
    What is `changed` are settings, and `provider`, which asks the identity provider, and `shown`,
    which takes incidents to their channels.
    """
    provider: httpx.Client = changed.pop("provider", None) or httpx.Client()
    shown: httpx.Client | None = changed.pop("shown", None)
    aws = Emulator(Core(time.time, Timings().faster(100)), watched=is_act)
    _restore_group(aws)
    fresh_databases.copy_into(folder)
    (folder / "playbooks").mkdir()
    for name, step in _STEPS.items():
        text = PLAYBOOK.replace("NAME", name).replace("STEP", step)
        (folder / "playbooks" / f"{name}.yaml").write_text(text)
    file = folder / "tokens.json"
    secrets = {role: tokens.create(file, role, str(role)) for role in Role}
    with prometheus() as answering:
        settings = Settings(
            database_url=f"sqlite:///{folder}/state.db",
            prometheus_url=answering.url,
            playbooks=folder / "playbooks",
            tokens_file=file,
            trusted_proxies="127.0.0.1",
            **{
                "mode": "auto",
                "verify_interval_s": 0.05,
                "audit_archive": str(folder / "audit"),
                **changed,
            },
        )
        edges = Edges(
            aws=clients(aws),
            aws_at=aws_at,
            channels=services,
            certificates=certificates,
            incidents=shown,
        )
        system = build(settings, load(settings.playbooks), edges)
        system.prepare()
        talking = make_chat(settings, system, client) if client else None
        sso = make_sign_on(settings, system.database, provider, system.clock)
        application = app(system, tokens.load(file), talking, sso)
        with _serving(application, settings) as url:
            service = Live(
                folder=folder,
                url=url,
                system=system,
                aws=aws,
                application=application,
                prometheus=answering,
                tokens=secrets,
            )
            with service.http:
                yield service


@contextmanager
def _serving(application: Api, settings: Settings) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(application, **(server_options(settings) | {"port": 0})))

    def stop() -> None:
        server.should_exit = True

    with _served(server.run, stop):
        deadline = time.monotonic() + _ANSWERED_S
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _served(serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()
