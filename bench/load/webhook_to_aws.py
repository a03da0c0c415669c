"""The time from a delivery to the AWS call, compared with a bare call.

It also measures the decisions per second in a storm of alerts that a playbook matches.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
from botocore.config import Config

from demo.stack import tools
from demo.stack.environment import Environment, EnvironmentOptions, start_environment
from demo.stack.monitoring_config import Timings
from demo.stack.processes import Processes

_TIMINGS = Timings(scrape="1s", evaluation="1s", hold="10s", group_interval="1s", discovery="1s")
_SEED, _HOSTS, _BARE, _STORM = 7, 6, 20, 4000
_SETTLED_S, _PATIENCE_S = 20.0, 90.0
_REBOOT = "RebootInstances"
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Client:
    """Reads and changes the environment from outside."""

    environment: Environment
    http: httpx.Client

    def fleet(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get(f"{self.environment.aws}/_sim/fleet").json()[
            "items"
        ]
        return items

    def calls(self, target: str) -> list[dict[str, Any]]:
        """Calls that name the target, oldest first."""
        lines = self.http.get(f"{self.environment.aws}/_sim/calls").text.splitlines()
        return [call for call in map(json.loads, lines) if target in str(call["parameters"])]

    def at_work_s(self, since: float, until: float) -> float:
        """Seconds in which the emulated AWS worked on at least one call, whichever its target."""
        lines = self.http.get(f"{self.environment.aws}/_sim/calls?since={since}").text.splitlines()
        busy, end = 0.0, since
        for call in map(json.loads, lines):
            began, ended = max(call["time"], end), min(call["time"] + call["took_s"], until)
            busy, end = busy + max(0.0, ended - began), max(end, ended)
        return busy

    def rebooted_at(self, target: str) -> float | None:
        """The time of the first reboot of the target in AWS's log."""
        calls = self.calls(target)
        return next((call["time"] for call in calls if call["operation"] == _REBOOT), None)

    def runs(self, target: str) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.environment.tokens['viewer']}"}
        path = f"{self.environment.receiver}/api/v1/runs?target={target}"
        items: list[dict[str, Any]] = self.http.get(path, headers=headers).json()["items"]
        return items

    def ended(self) -> int:
        """The number of runs that have ended."""
        lines = self.http.get(f"{self.environment.receiver}/metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("smartcloudops_runs_total{")]
        return int(sum(float(line.rpartition(" ")[2]) for line in counts))

    def deliver(self, alerts: Sequence[Mapping[str, object]]) -> None:
        headers = {"Authorization": f"Bearer {self.environment.tokens['webhook']}"}
        url = f"{self.environment.receiver}/webhook/alertmanager"
        body = {"version": "4", "alerts": alerts}
        self.http.post(url, json=body, headers=headers).raise_for_status()

    def bare_s(self, target: str) -> float:
        """Seconds that a call to AWS takes from a client that does nothing else."""
        session = boto3.Session("emulated", "emulated", region_name="us-east-1")
        client = session.client(
            "ec2",
            endpoint_url=self.environment.aws,
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.describe_instances(InstanceIds=[target])
        took = []
        for _ in range(_BARE):
            started = time.perf_counter()
            client.describe_instances(InstanceIds=[target])
            took.append(time.perf_counter() - started)
        return statistics.median(took)


def webhook_to_aws(folder: Path) -> Mapping[str, float]:
    """Medians in milliseconds over incidents, each a runaway process on its own host."""
    with Processes(folder / "logs") as processes, httpx.Client(trust_env=False, timeout=30) as http:
        environment = start_environment(
            processes,
            tools.require(),
            EnvironmentOptions(folder=folder / "state", seed=_SEED, timings=_TIMINGS, speed=10.0),
        )
        client = _Client(environment, http)
        time.sleep(_SETTLED_S)
        targets = [host["instance_id"] for host in client.fleet()][:: 12 // _HOSTS][:_HOSTS]
        bare_s = client.bare_s(targets[0])
        timed = [_measure_incident(client, target) for target in targets]
        stormed = _measure_storm(client)
    took, _, reads, free = zip(*timed, strict=True)
    return {
        "storm_with_playbook_decisions_per_s": stormed,
        "webhook_to_first_read_ms_p50": 1e3 * statistics.median(reads),
        "webhook_to_decision_ms_p50": 1e3 * statistics.median(decided for _, decided, *_ in timed),
        "webhook_to_aws_ms_p50": 1e3 * statistics.median(took),
        "bare_call_ms_p50": 1e3 * bare_s,
        "webhook_to_aws_overhead_ms_p50": 1e3 * (statistics.median(took) - bare_s),
        "webhook_to_aws_reads_free_ms_p50": 1e3 * (statistics.median(free) - bare_s),
    }


def _measure_incident(client: _Client, target: str) -> tuple[float, float, float, float]:
    """Break a host, and wait until its run has ended.

    Returns the seconds from the alert's arrival to the call, the decision, and the first AWS read;
    and those to the call in which the emulated AWS was not at work.
    """
    fault = {"target": target, "fault": "cpu_runaway"}
    client.http.post(f"{client.environment.aws}/_sim/fleet/faults", json=fault).raise_for_status()
    called_at = _eventually(client, target, lambda: client.rebooted_at(target))
    # The service acts on only one member of a group at a time.
    _eventually(client, target, lambda: all(run["ended_at"] for run in client.runs(target)) or None)
    run = next(run for run in reversed(client.runs(target)) if run["steps"])
    received, decided = (
        datetime.fromisoformat(run[name]).timestamp() for name in ("received_at", "decided_at")
    )
    read_at = next(call["time"] for call in client.calls(target) if call["time"] >= received)
    at_work = client.at_work_s(received, called_at)
    took = called_at - received
    return took, decided - received, read_at - received, took - at_work


def _measure_storm(client: _Client) -> float:
    """Decisions per second in a storm on one group's hosts; a playbook matches every alert."""
    fleet = client.fleet()
    hosts = [host["instance_id"] for host in fleet if host["asg"] == fleet[0]["asg"]]
    labels = {"alertname": "HighCPU", "severity": "warning", "asg": fleet[0]["asg"]}
    now = datetime.now(UTC).isoformat()
    alerts = [
        {
            "status": "firing",
            "labels": labels | {"instance_id": hosts[number % len(hosts)], "cpu": f"{number}"},
            "startsAt": now,
        }
        for number in range(_STORM)
    ]
    before, began = client.ended(), time.monotonic()
    client.deliver(alerts)
    while client.ended() - before < _STORM:
        if time.monotonic() - began > _PATIENCE_S:
            raise RuntimeError(f"the storm was not decided within {_PATIENCE_S:.0f} s")
        time.sleep(0.2)
    return _STORM / (time.monotonic() - began)


def _eventually(client: _Client, target: str, read: Callable[[], _T | None]) -> _T:
    until = time.monotonic() + _PATIENCE_S
    while (value := read()) is None:
        if time.monotonic() > until:
            states = [run["refusal"] or run["state"] for run in client.runs(target)]
            raise RuntimeError(f"no action on {target}: {states or 'no alert'}")
        time.sleep(0.2)
    return value
