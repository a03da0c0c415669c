"""A receiver before an emulated fleet, and what is seen of both from outside."""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.load.service import Served, serve
from bench.scale.fleet import BenchGroup, FleetSpec
from demo.stack.postgres import Postgres
from demo.stack.processes import Processes, wait_announced
from receiver.http.access.callers import Role

_PLAYBOOKS = Path(__file__).with_name("playbooks")
# A question costs the receiver some milliseconds of CPU time.
_POLL_S = 1.0


@dataclass(frozen=True)
class Counts:
    """Totals so far: calls to AWS by operation, queries and samples of Prometheus, CPU seconds."""

    aws: Mapping[str, int]
    prometheus: Mapping[str, int]
    cpu_s: float

    @property
    def aws_calls(self) -> int:
        return sum(self.aws.values()) - self.aws.get("throttled", 0)

    def calls_since(self, before: "Counts") -> Mapping[str, int]:
        """The calls since then by operation."""
        return {
            name: count - before.aws.get(name, 0)
            for name, count in self.aws.items()
            if count > before.aws.get(name, 0)
        }


@dataclass(kw_only=True)
class BenchStack:
    """The processes of one fleet; `leader` is the receiver that takes the deliveries."""

    spec: FleetSpec
    aws: str
    prometheus: str
    leader: Served
    http: httpx.Client
    folder: Path
    processes: Processes
    settings: Mapping[str, str]

    def counts(self) -> Counts:
        return Counts(
            aws=self.http.get(f"{self.aws}/_sim/counts").json(),
            prometheus=self.http.get(f"{self.prometheus}/_sim/counts").json(),
            cpu_s=self.leader.cpu_s(),
        )

    def deliver(self, group: BenchGroup, alertname: str, ids: Sequence[str], **more: str) -> float:
        """Deliver an alert on each of these members. Returns the time before the delivery."""
        now = time.time()
        labels = {"alertname": alertname, "severity": "warning", "asg": group.name, **more}
        labels |= vars(group.place)
        began = datetime.fromtimestamp(now - 30, UTC).isoformat()
        alerts = [
            {"status": "firing", "labels": {**labels, "instance_id": one}, "startsAt": began}
            for one in ids
        ]
        headers = {"Authorization": f"Bearer {self.leader.tokens[Role.WEBHOOK]}"}
        self.http.post(
            f"{self.leader.url}/webhook/alertmanager",
            json={"version": "4", "alerts": alerts},
            headers=headers,
        ).raise_for_status()
        return now

    def reboots(self, since: float) -> Mapping[str, float]:
        """When each instance was first rebooted since then."""
        acts = self.http.get(f"{self.aws}/_sim/acts", params={"since": since}).json()
        reboots: dict[str, float] = {}
        for at, target, operation in acts:
            if operation == "RebootInstances":
                reboots.setdefault(target, at)
        return reboots

    def decided_at(self, target: str) -> float:
        """When the last run of the target was decided; infinity if it was not."""
        runs = self.leader.get(f"/api/v1/runs?target={target}&limit=1").json()["items"]
        decided = runs and runs[0]["decided_at"]
        return datetime.fromisoformat(decided).timestamp() if decided else math.inf

    def undecided(self) -> int:
        """Whether an alert waits, or is decided on: 0 or 1 for each state."""
        pages = [
            self.leader.get(f"/api/v1/runs?state={state}&limit=1")
            for state in ("received", "deciding")
        ]
        return sum(len(page.raise_for_status().json()["items"]) for page in pages)

    def wait_decided(self, patience_s: float = 300.0) -> float:
        """Wait until no alert waits for a decision. Returns the time. Raises RuntimeError."""
        until = time.time() + patience_s
        while self.undecided():
            if time.time() > until:
                raise RuntimeError(f"not decided within {patience_s:.0f} s")
            time.sleep(_POLL_S)
        return time.time()

    def wait_ended(self, patience_s: float = 120.0) -> None:
        """Wait until no run is in flight, or the patience ends."""
        until = time.time() + patience_s
        while self.leader.metric("smartcloudops_runs_in_flight") and time.time() < until:
            time.sleep(_POLL_S)

    def refusals(self) -> Mapping[str, float]:
        """The refused runs so far by reason."""
        lines = self.leader.get("/metrics").text.splitlines()
        found = (line for line in lines if line.startswith("smartcloudops_refusals_total{"))
        counts = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in found}
        return {reason: count for reason, count in counts.items() if count}

    def start_another(self) -> Served:
        """A second receiver on the same database."""
        return serve(self.processes, self.folder / "second", "second", **self.settings)


@contextmanager
def running(
    processes: Processes, database: Postgres, spec: FleetSpec, folder: Path
) -> Iterator[BenchStack]:
    """Run a fleet and its receiver inside the block."""
    name = f"scale_{spec.instances}"
    own, second = folder / name, folder / name / "second"
    second.mkdir(parents=True)
    (own / "accounts.yaml").write_text(spec.accounts_file())
    aws = _announced(processes, "aws", spec)
    prometheus = _announced(processes, "prometheus", spec)
    settings = {
        "AWS": aws,
        "DATABASE_URL": database.create(name),
        "PROMETHEUS_URL": prometheus,
        "PLAYBOOKS": str(_PLAYBOOKS),
        "ACCOUNTS": str(own / "accounts.yaml"),
        "MODE": "auto",
    }
    with httpx.Client(trust_env=False, timeout=60) as http:
        leader = serve(processes, own, "receiver", **settings)
        yield BenchStack(
            spec=spec,
            aws=aws,
            prometheus=prometheus,
            leader=leader,
            http=http,
            folder=own,
            processes=processes,
            settings=settings,
        )


def _announced(processes: Processes, part: str, spec: FleetSpec) -> str:
    module = f"bench.scale.{part}"
    child = processes.start(part, [sys.executable, "-m", module, *spec.arguments])
    return str(wait_announced(child)["url"])


def dump(path: Path, figures: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
