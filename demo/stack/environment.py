"""The stage of the demo: every part started on loopback, wired together, and reachable."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from demo.stack.monitoring import start_chain
from demo.stack.monitoring_config import AS_SHIPPED, Surroundings, Timings
from demo.stack.processes import (
    Child,
    Processes,
    free_port,
    wait_announced,
    wait_ready,
    without_aws,
)
from demo.stack.tools import Tools
from receiver.http import tokens
from receiver.http.tokens import Role

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Base URLs, tokens by role, and the variables with which the command line reaches it all."""

    receiver: str
    prometheus: str
    alertmanager: str
    aws: str
    tokens: Mapping[str, str]
    env: Mapping[str, str]
    service: Child

    def endpoints(self) -> dict[str, Any]:
        shown = ("receiver", "prometheus", "alertmanager", "aws", "tokens", "env")
        return {name: getattr(self, name) for name in shown}


def set_up(  # noqa: PLR0913 each is one fact about the stage, all by name
    processes: Processes,
    *,
    tools: Tools,
    folder: Path,
    seed: int,
    say: Callable[[str, str], None],
    timings: Timings = AS_SHIPPED,
    settings: Mapping[str, str] | None = None,
    alertmanagers: int = 1,
    speed: float = 1.0,
) -> Stage:
    """Start everything in a fresh `folder` and wait until the fleet is watched.

    `settings` are SMARTCLOUDOPS_* variables that differ from the demo's own, `speed` is how much
    faster than life hosts boot. `say` is told what happens, by component. Raises ProcessError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say("aws", "starting the emulated AWS with two Auto Scaling groups of six")
    options = ("--port", "0", "--seed", str(seed), "--speed", str(speed))
    emulator = processes.start("aws", _python("-m", "demo.aws.server", *options))
    aws = wait_announced(emulator)["url"]
    say("prometheus", "importing a week of the fleet's history")
    history = folder / "history.om"
    _download(f"{aws}/_sim/history", history)
    made = _tokens(folder)
    receiver = f"http://127.0.0.1:{free_port()}"
    around = Surroundings(aws=aws, receiver=receiver, token_file=folder / "webhook-token")
    chain = start_chain(
        processes,
        tools=tools,
        state=folder,
        around=around,
        timings=timings,
        history=history,
        alertmanagers=alertmanagers,
    )
    history.unlink()
    env = {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SMARTCLOUDOPS_PORT": receiver.rpartition(":")[2],
        "SMARTCLOUDOPS_DATABASE_URL": f"sqlite:///{folder.absolute()}/smartcloudops.db",
        "SMARTCLOUDOPS_PROMETHEUS_URL": chain.prometheus_url,
        "SMARTCLOUDOPS_ALERTMANAGER_URL": chain.alertmanager_urls[0],
        "SMARTCLOUDOPS_PLAYBOOKS": str(_ROOT / "playbooks"),
        "SMARTCLOUDOPS_TOKENS_FILE": str((folder / "tokens.json").absolute()),
        "SMARTCLOUDOPS_MODE": "auto",
        **(settings or {}),
    }
    say("receiver", f"starting in mode {env['SMARTCLOUDOPS_MODE']}")
    return Stage(
        receiver=receiver,
        prometheus=chain.prometheus_url,
        alertmanager=chain.alertmanager_urls[0],
        aws=aws,
        tokens=made,
        env=env,
        service=start_receiver(processes, receiver, env),
    )


def start_receiver(processes: Processes, url: str, env: Mapping[str, str]) -> Child:
    """Start the service, again after a kill, and wait until it is ready. Raises ProcessError."""
    child = begin_receiver(processes, env)
    wait_ready(child, f"{url}/readyz")
    return child


def begin_receiver(
    processes: Processes, env: Mapping[str, str], *, name: str = "receiver"
) -> Child:
    """Start the service and do not wait for it."""
    return processes.start(name, _python("-m", "receiver", "serve"), env={**without_aws(), **env})


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _download(url: str, path: Path) -> None:
    with (
        httpx.Client(trust_env=False, timeout=60) as http,
        http.stream("GET", url) as response,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        for chunk in response.iter_bytes():
            file.write(chunk)


def _tokens(folder: Path) -> dict[str, str]:
    made = {str(role): tokens.create(folder / "tokens.json", role, f"demo-{role}") for role in Role}
    secret = folder / "webhook-token"
    secret.touch(mode=0o600)
    secret.write_text(made[Role.WEBHOOK])
    return made


def publish(stage: Stage, path: Path) -> None:
    """Write the endpoints and tokens, for whoever wants to try this very demo."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(stage.endpoints(), indent=2) + "\n")
