"""The whole way on real Linux machines: a process that never yields, ended by a real reboot."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.machines import image, programs
from demo.stack import tools
from demo.stack.debian import ToolsError
from demo.stack.environment import Environment, EnvironmentOptions, start_environment
from demo.stack.monitoring_config import FAST
from demo.stack.processes import Processes

_ROOT = Path(__file__).parents[2]
_GROUP = "web-asg"
_PATIENCE_S = 120


@dataclass(kw_only=True)
class Machines:
    """The running environment with two machines."""

    stage: Environment
    http: httpx.Client

    def fleet(self) -> dict[str, dict[str, Any]]:
        items = self.http.get(f"{self.stage.aws}/_sim/fleet").json()["items"]
        return {item["instance_id"]: item for item in items}

    def failed(self, since: float, until: float) -> int:
        """The requests of that time that callers saw fail."""
        span = {"since": since, "until": until}
        counts = self.http.get(f"{self.stage.aws}/_sim/requests", params=span).json()
        return int(counts[_GROUP].get("failed", 0))

    def counted(self, until: float) -> bool:
        """Whether the callers have written that second."""
        span = {"since": int(until), "until": int(until) + 1}
        counts = self.http.get(f"{self.stage.aws}/_sim/requests", params=span).json()
        return bool(counts[_GROUP])

    def calls(self, operation: str) -> list[dict[str, Any]]:
        lines = self.http.get(f"{self.stage.aws}/_sim/calls").text.splitlines()
        return [call for call in map(json.loads, lines) if call["operation"] == operation]

    def break_(self, target: str, fault: str) -> None:
        body = {"target": target, "fault": fault}
        self.http.post(f"{self.stage.aws}/_sim/fleet/faults", json=body).raise_for_status()

    def runs(self, target: str) -> list[dict[str, Any]]:
        token = {"Authorization": f"Bearer {self.stage.tokens['viewer']}"}
        url = f"{self.stage.receiver}/api/v1/runs"
        items: list[dict[str, Any]] = self.http.get(
            url, params={"target": target}, headers=token
        ).json()["items"]
        return items


def eventually(holds: Callable[[], object]) -> Any:
    until = time.monotonic() + _PATIENCE_S
    while not (value := holds()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.25)
    return value


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    try:
        image.require(programs.require())
    except ToolsError as error:
        pytest.skip(f"user-mode Linux does not start: {error}")
    folder = tmp_path_factory.mktemp("machines")
    playbook = (_ROOT / "playbooks/high-cpu.yaml").read_text()
    (folder / "high-cpu.yaml").write_text(playbook.replace("for: 15s", "for: 2s"))
    with Processes(folder / "logs") as processes, httpx.Client(trust_env=False, timeout=30) as http:
        stage = start_environment(
            processes,
            tools.require(),
            EnvironmentOptions(
                folder=folder / "state",
                seed=5,
                # As long as the shipped rule: the re-check takes the median of the last 15 s.
                timings=replace(FAST, hold="10s"),
                machines={_GROUP: 2},
                settings={
                    "SMARTCLOUDOPS_PLAYBOOKS": str(folder),
                    "SMARTCLOUDOPS_VERIFY_INTERVAL_S": "1",
                },
            ),
        )
        yield Machines(stage=stage, http=http)


def test_a_runaway_process_is_ended_by_a_real_reboot(machines: Machines) -> None:
    """Another boot of the kernel, the process gone, and callers who noticed only the reboot."""
    (target, before), (sibling, other) = machines.fleet().items()
    machines.break_(target, "cpu_runaway")
    broken_at = time.time()
    eventually(lambda: "cpu_runaway" in machines.fleet()[target]["faults"])
    run = eventually(lambda: next(filter(_acted, machines.runs(target)), None))
    assert [(step["action"], step["outcome"]) for step in run["steps"] if _of(target, step)] == [
        ("reboot_instance", "changed")
    ]
    after = machines.fleet()[target]
    assert after["health"] == "healthy"
    assert after["boot_id"] != before["boot_id"]
    assert after["processes"]
    assert not any("cpu_runaway" in words for words in after["processes"].values())
    assert machines.fleet()[sibling]["boot_id"] == other["boot_id"]
    (call,) = machines.calls("RebootInstances")
    assert call["parameters"]["InstanceIds"] == [target]
    rebooted_at, ended_at = call["time"], time.time()
    eventually(lambda: machines.counted(ended_at))
    # While the process ran the service still answered; what the machine held when it went is lost.
    assert machines.failed(rebooted_at - 1, ended_at) > machines.failed(broken_at, rebooted_at - 1)


def _acted(run: dict[str, Any]) -> bool:
    return bool(run["steps"]) and run["state"] == "succeeded"


def _of(target: str, step: dict[str, Any]) -> bool:
    return bool(step["target"] == target)
