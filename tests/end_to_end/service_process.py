"""The real service in a process of its own, with nothing behind it but a database."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from demo.stack.processes import Child, Processes, without_aws
from receiver.http.access import tokens
from receiver.http.access.callers import Role

ROOT = Path(__file__).parents[2]
# Nothing listens there: whatever is asked of AWS or Prometheus is refused at once.
_NOWHERE = "http://127.0.0.1:1"


def settings(folder: Path, **changed: str) -> dict[str, str]:
    """The environment of a service that keeps all it has in `folder`."""
    return {
        **without_aws(),
        "AWS_ENDPOINT_URL": _NOWHERE,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SMARTCLOUDOPS_DATABASE_URL": f"sqlite:///{folder}/state.db",
        "SMARTCLOUDOPS_PROMETHEUS_URL": _NOWHERE,
        "SMARTCLOUDOPS_PLAYBOOKS": str(ROOT / "playbooks"),
        "SMARTCLOUDOPS_TOKENS_FILE": str(folder / "tokens.json"),
        **changed,
    }


@dataclass(kw_only=True)
class Service:
    """A running service. `tokens` are secrets by role."""

    folder: Path
    processes: Processes
    env: Mapping[str, str]
    tokens: Mapping[Role, str]
    url: str = ""
    child: Child | None = None

    @classmethod
    def make(cls, folder: Path, processes: Processes, **changed: str) -> "Service":
        env = settings(folder, **changed)
        secrets = {role: tokens.create(folder / "tokens.json", role, str(role)) for role in Role}
        service = cls(folder=folder, processes=processes, env=env, tokens=secrets)
        service.start()
        return service

    def start(self) -> None:
        def command(port: int) -> list[str]:
            variable = f"SMARTCLOUDOPS_PORT={port}"
            return ["env", variable, sys.executable, "-m", "receiver", "serve"]

        self.child, self.url = self.processes.start_on_port(
            "receiver", command, ready="/readyz", env=self.env
        )

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()

    def log(self) -> str:
        assert self.child is not None
        return self.child.log.read_text()

    def resident_mb(self) -> float:
        assert self.child is not None
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def call(  # noqa: PLR0913 one argument a part of a request
        self,
        method: str,
        path: str,
        role: Role | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        json: object = None,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if role is not None:
            sent["Authorization"] = f"Bearer {self.tokens[role]}"
        with httpx.Client(trust_env=False, timeout=60) as http:
            return http.request(
                method, f"{self.url}{path}", headers=sent, content=content, json=json
            )

    def deliver(self, *alerts: object, **envelope: object) -> httpx.Response:
        body = {"version": "4", "alerts": list(alerts), **envelope}
        return self.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
