"""Starts every part of the demo on loopback, and connects them."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from demo.stack.monitoring import Monitoring, MonitoringSpec, start_monitoring
from demo.stack.monitoring_config import AS_SHIPPED, Connections, Timings
from demo.stack.processes import (
    Child,
    Processes,
    free_port,
    wait_announced,
    wait_ready,
    without_aws,
)
from demo.stack.tools import Tools
from receiver.http.access import tokens
from receiver.http.access.callers import Role

_ROOT = Path(__file__).parents[2]
# The file with the token of Alertmanager's webhook, in the tokens' folder.
CREDENTIALS_FILE = "webhook-token"
_VIEWER_FILE = "viewer-token"
# Eight machines boot in 12 s on two cores, and the first start fetches their programs.
_STARTED_S = 300
# 2 s on a quiet machine.
_READY_S = 90


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Base URLs, tokens by role, and the variables with which the command line reaches the demo."""

    receiver: str
    prometheus: str
    alertmanager: str
    aws: str
    tokens: Mapping[str, str]
    env: Mapping[str, str]
    service: Child

    def endpoints(self) -> dict[str, Any]:
        names = ("receiver", "prometheus", "alertmanager", "aws", "tokens", "env")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions:
    """Options of `start_environment`; it empties `folder` first.

    `seed` determines the hosts' random parameters. `settings` are SMARTCLOUDOPS_* variables that
    override the demo's; hosts boot `speed` times as fast as in AWS. `machines` are the sizes of
    groups of real machines; without them the fleet is simulated.
    """

    folder: Path
    seed: int
    timings: Timings = AS_SHIPPED
    settings: Mapping[str, str] = field(default_factory=dict)
    alertmanagers: int = 1
    speed: float = 1.0
    machines: Mapping[str, int] = field(default_factory=dict)


def start_environment(
    processes: Processes,
    tools: Tools,
    options: EnvironmentOptions,
    *,
    monitor: Callable[[Processes, Tools, MonitoringSpec], Monitoring] = start_monitoring,
    say: Callable[[str, str], None] = lambda *_: None,
) -> Environment:
    """Start everything and wait until the service is ready.

    `monitor` starts the monitoring, `say` gets the name of a component and a line of progress.
    Raises ProcessError.
    """
    folder = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say("aws", f"starting the emulated AWS with {_fleet(options.machines)}")
    arguments = ["--port", "0", "--seed", str(options.seed), "--speed", str(options.speed)]
    if options.machines:
        arguments += ["--machines", *(f"{name}={size}" for name, size in options.machines.items())]
    emulator = processes.start("aws", _python("-m", "demo.aws.server", *arguments))
    aws = wait_announced(emulator, timeout_s=_STARTED_S)["url"]
    say("prometheus", "importing a week of the fleet's history")
    history = folder / "history.om"
    _download(f"{aws}/_sim/history", history)
    secrets = create_tokens(folder, label="demo-{}")
    receiver = f"http://127.0.0.1:{free_port()}"
    monitoring = monitor(
        processes,
        tools,
        MonitoringSpec(
            state=folder,
            connections=Connections(
                aws=aws,
                receiver=receiver,
                token_file=folder / CREDENTIALS_FILE,
                viewer_token_file=folder / _VIEWER_FILE,
            ),
            timings=options.timings,
            history=history,
            alertmanagers=options.alertmanagers,
        ),
    )
    history.unlink()
    env = {
        **emulated_aws(aws),
        "SMARTCLOUDOPS_PORT": receiver.rpartition(":")[2],
        "SMARTCLOUDOPS_DATABASE_URL": f"sqlite:///{folder.absolute()}/smartcloudops.db",
        "SMARTCLOUDOPS_AUDIT_ARCHIVE": f"{folder.absolute()}/audit",
        "SMARTCLOUDOPS_PROMETHEUS_URL": monitoring.prometheus_url,
        "SMARTCLOUDOPS_ALERTMANAGER_URL": monitoring.alertmanager_urls[0],
        "SMARTCLOUDOPS_PLAYBOOKS": str(_ROOT / "playbooks"),
        "SMARTCLOUDOPS_TOKENS_FILE": str((folder / "tokens.json").absolute()),
        "SMARTCLOUDOPS_MODE": "auto",
        **options.settings,
    }
    say("receiver", f"starting in mode {env['SMARTCLOUDOPS_MODE']}")
    return Environment(
        receiver=receiver,
        prometheus=monitoring.prometheus_url,
        alertmanager=monitoring.alertmanager_urls[0],
        aws=aws,
        tokens=secrets,
        env=env,
        service=start_receiver(processes, receiver, env),
    )


def _fleet(machines: Mapping[str, int]) -> str:
    if not machines:
        return "two Auto Scaling groups of six simulated instances"
    groups = ", ".join(f"{name} of {size}" for name, size in machines.items())
    return f"real Linux machines, each its own kernel: {groups}"


def emulated_aws(url: str) -> dict[str, str]:
    """The environment variables by which boto3 reaches the emulated AWS at `url`."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def start_receiver(processes: Processes, url: str, env: Mapping[str, str]) -> Child:
    """Start the service, again after a kill, and wait until it is ready. Raises ProcessError."""
    child = begin_receiver(processes, env)
    wait_ready(child, f"{url}/readyz", timeout_s=_READY_S)
    return child


def begin_receiver(
    processes: Processes, env: Mapping[str, str], *, name: str = "receiver"
) -> Child:
    """Start the service without waiting for it."""
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


def create_tokens(folder: Path, *, label: str = "{}") -> dict[str, str]:
    """Create a token for each role, in `folder`; Prometheus and Alertmanager have one in a file."""
    secrets = {
        str(role): tokens.create(folder / "tokens.json", role, label.format(role)) for role in Role
    }
    for name, role in ((CREDENTIALS_FILE, Role.WEBHOOK), (_VIEWER_FILE, Role.VIEWER)):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(secrets[role])
    return secrets


def publish(environment: Environment, path: Path) -> None:
    """Write the endpoints and tokens of the running demo to `path`."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(environment.endpoints(), indent=2) + "\n")
