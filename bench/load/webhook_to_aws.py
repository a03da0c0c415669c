"""On the real chain: from a delivery to the AWS call, the re-check on, against the bare call.

And how fast a storm is decided on that a playbook takes.
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
from demo.stack.environment import Stage, set_up
from demo.stack.monitoring_config import Timings
from demo.stack.processes import Processes

_TIMINGS = Timings(scrape="1s", evaluation="1s", hold="10s", group_interval="1s", discovery="1s")
_SEED, _HOSTS, _BARE, _STORM = 7, 6, 20, 4000
_SETTLED_S, _PATIENCE_S = 20.0, 90.0
_REBOOT = "RebootInstances"
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Aws:
    stage: Stage
    http: httpx.Client

    def fleet(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.http.get(f"{self.stage.aws}/_sim/fleet").json()["items"]
        return items

    def calls(self, target: str) -> list[dict[str, Any]]:
        """Those that name the target, oldest first."""
        lines = self.http.get(f"{self.stage.aws}/_sim/calls").text.splitlines()
        return [call for call in map(json.loads, lines) if target in str(call["parameters"])]

    def rebooted_at(self, target: str) -> float | None:
        """When AWS saw the first call for it."""
        calls = self.calls(target)
        return next((call["time"] for call in calls if call["operation"] == _REBOOT), None)

    def runs(self, target: str) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.stage.tokens['viewer']}"}
        path = f"{self.stage.receiver}/api/v1/runs?target={target}"
        found: list[dict[str, Any]] = self.http.get(path, headers=headers).json()["items"]
        return found

    def ended(self) -> int:
        """How many runs have ended, ever."""
        lines = self.http.get(f"{self.stage.receiver}/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("smartcloudops_runs_total{")]
        return int(sum(float(line.rpartition(" ")[2]) for line in found))

    def deliver(self, alerts: Sequence[Mapping[str, object]]) -> None:
        headers = {"Authorization": f"Bearer {self.stage.tokens['webhook']}"}
        url = f"{self.stage.receiver}/webhook/alertmanager"
        body = {"version": "4", "alerts": alerts}
        self.http.post(url, json=body, headers=headers).raise_for_status()

    def bare_s(self, target: str) -> float:
        """What the same call takes to get there from a client that does nothing else."""
        session = boto3.Session("emulated", "emulated", region_name="us-east-1")
        client = session.client(
            "ec2", endpoint_url=self.stage.aws, config=Config(retries={"total_max_attempts": 1})
        )
        client.describe_instances(InstanceIds=[target])
        took = []
        for _ in range(_BARE):
            started = time.perf_counter()
            client.describe_instances(InstanceIds=[target])
            took.append(time.perf_counter() - started)
        return statistics.median(took)


def webhook_to_aws(folder: Path) -> Mapping[str, float]:
    """Milliseconds; the median over incidents, each with its own host and a runaway process."""
    with Processes(folder / "logs") as processes, httpx.Client(trust_env=False, timeout=30) as http:
        stage = set_up(
            processes,
            tools=tools.require(),
            folder=folder / "state",
            seed=_SEED,
            say=lambda *_: None,
            timings=_TIMINGS,
            speed=10.0,
        )
        aws = _Aws(stage, http)
        time.sleep(_SETTLED_S)
        targets = [host["instance_id"] for host in aws.fleet()][:: 12 // _HOSTS][:_HOSTS]
        bare_s = aws.bare_s(targets[0])
        timed = [_one(aws, target) for target in targets]
        stormed = _storm(aws)
    took, _, reads = zip(*timed, strict=True)
    return {
        "storm_with_playbook_decisions_per_s": stormed,
        "webhook_to_first_read_ms_p50": 1e3 * statistics.median(reads),
        "webhook_to_decision_ms_p50": 1e3 * statistics.median(one for _, one, _ in timed),
        "webhook_to_aws_ms_p50": 1e3 * statistics.median(took),
        "bare_call_ms_p50": 1e3 * bare_s,
        "webhook_to_aws_overhead_ms_p50": 1e3 * (statistics.median(took) - bare_s),
    }


def _one(aws: _Aws, target: str) -> tuple[float, float, float]:
    """Break a host, and wait until it is well.

    Seconds from its alert's arrival to the call, to the decision, and to the first read of AWS.
    """
    fault = {"target": target, "fault": "cpu_runaway"}
    aws.http.post(f"{aws.stage.aws}/_sim/fleet/faults", json=fault).raise_for_status()
    called_at = _eventually(aws, target, lambda: aws.rebooted_at(target))
    # Of a group only one is acted on at a time.
    _eventually(aws, target, lambda: all(one["ended_at"] for one in aws.runs(target)) or None)
    run = next(one for one in reversed(aws.runs(target)) if one["steps"])
    received, decided = (
        datetime.fromisoformat(run[name]).timestamp() for name in ("received_at", "decided_at")
    )
    read_at = next(call["time"] for call in aws.calls(target) if call["time"] >= received)
    return called_at - received, decided - received, read_at - received


def _storm(aws: _Aws) -> float:
    """Decisions a second in a storm of one group's hosts, each of which a playbook takes."""
    fleet = aws.fleet()
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
    before, began = aws.ended(), time.monotonic()
    aws.deliver(alerts)
    while aws.ended() - before < _STORM:
        if time.monotonic() - began > _PATIENCE_S:
            raise RuntimeError("the storm was not decided on in time")
        time.sleep(0.2)
    return _STORM / (time.monotonic() - began)


def _eventually(aws: _Aws, target: str, look: Callable[[], _T | None]) -> _T:
    until = time.monotonic() + _PATIENCE_S
    while (found := look()) is None:
        if time.monotonic() > until:
            why = [one["refusal"] or one["state"] for one in aws.runs(target)]
            raise RuntimeError(f"nothing was done for {target}: {why or 'no alert'}")
        time.sleep(0.2)
    return found
