"""`make chaos`: kills receivers, database and Prometheus at random in a storm while AWS fails.

Two receivers share one PostgreSQL behind a real HAProxy; each is restarted one second after it
ended. A real Alertmanager retries and repeats its deliveries, and a second sender mixes in forged,
stale and duplicate alerts. Afterwards the log of the emulated AWS is compared with the records: no
alert lost, no action done twice or on a healthy or wrong host, no limit exceeded, no call without a
record and no record without a call, and nothing that was lent is kept. With fewer actions than
rounds these figures prove little, and the run counts as failed.
"""

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from bench.chaos.cluster import Cluster, ClusterSpec, Supervisor, run_cluster
from bench.chaos.counts import Caps
from bench.chaos.disasters import draw_disasters
from bench.chaos.forgeries import HEALTHY_PLAYBOOK, NAMED, STORM_LIMIT, Forgery, ForgeryKind, forge
from bench.chaos.monitoring import ChaosMonitoring
from bench.chaos.report import ChaosFacts, ChaosReport, evaluate
from bench.chaos.storms import Storms
from demo.stack.processes import Processes

_OUT = Path("build/chaos.json")
# Chosen so that 60 rounds reach some of them towards the end.
_CAPS = Caps(target=15, group=100, playbook=190, cooldown_s=20.0)
_PLAYBOOK = f"""
name: chaos
match: ['alertname=~"Chaos-.+"']
mode: auto
cooldown: {_CAPS.cooldown_s:.0f}s
limits:
  target_per_hour: {_CAPS.target}
  target_per_day: 1000
  group_per_hour: {_CAPS.group}
  playbook_per_hour: {_CAPS.playbook}
  relapse: 0s
{STORM_LIMIT}
recheck: ['up{{instance_id="$instance_id"}} == bool 1']
steps:
  - action: reboot_instance
    before: [{{action: suspend_processes, params: {{processes: [ReplaceUnhealthy]}}}}]
verify: {{expr: 'up{{instance_id="$instance_id"}} == bool 1', for: 0s, timeout: 30s}}
"""
# Alertmanager sends a resolved alert at the next `group_interval`.
_ROUND_S, _ENDS_S, _CALM_S = 10.0, 20.0, 15.0
# A suspension without an answer is asked for during 120 s, then a reboot during 330 s, and what was
# lent is given back after them.
_PATIENCE_S = 700.0
# After this wait the runs that have not ended are printed.
_LONG_S = 100.0
_CHUNKS = 20
# Of each kind, one for so many incidents.
_INCIDENTS_PER_FORGERY = 50
_TRAFFIC = ("send", "forge")
_POLL_S = 0.1


@dataclass
class _Chaos:
    """The rounds of one `make chaos`, and the alerts that they sent."""

    cluster: Cluster
    monitoring: ChaosMonitoring
    supervisor: Supervisor
    chance: random.Random
    storms: Storms
    sent: set[str] = field(default_factory=set)
    disasters: Counter[str] = field(default_factory=Counter)
    forgeries: Counter[str] = field(default_factory=Counter)
    undelivered: list[Forgery] = field(default_factory=list)

    def round(self, incidents: int) -> list[str]:
        """Play one storm with disasters until every run has ended. Returns the disasters' names."""
        began, started = time.time(), time.monotonic()
        lasts = timedelta(seconds=_ENDS_S + _ROUND_S)
        drawn = self.storms.draw(self.cluster.fleet(), incidents, lasts)
        self.sent |= drawn.keys()
        alerts = list(drawn.values())
        size = -(-incidents // _CHUNKS)
        events: list[tuple[float, tuple[str, Any]]] = [
            (self.chance.uniform(0, _ROUND_S), ("send", alerts[at : at + size]))
            for at in range(0, len(alerts), size)
        ]
        events += [
            (self.chance.uniform(0, _ROUND_S), event)
            for event in draw_disasters(self.chance, self.cluster.replicas)
        ]
        count = max(1, incidents // _INCIDENTS_PER_FORGERY)
        forgeries = self._forge(alerts, [kind for kind in ForgeryKind for _ in range(count)])
        events += [(self.chance.uniform(0, _ROUND_S), ("forge", forged)) for forged in forgeries]
        events.sort(key=itemgetter(0))
        for at, (name, subject) in events:
            self.wait(started + at)
            if name not in _TRAFFIC:
                self.disasters[name] += 1
            self._cause(name, subject)
        self._restore()
        late, self.undelivered = self.undelivered, []
        for forgery in late:
            self._deliver(forgery)
        self._wait_ended(drawn.keys() | self._sent(forgeries), began)
        # In a storm most of them are refused since their group is busy, which proves little.
        calm = self._forge(alerts, NAMED, "calm")
        for forgery in calm:
            self._deliver(forgery)
        self._wait_ended(self._sent(calm), began)
        return [name for _, (name, _) in events if name not in _TRAFFIC]

    def wait(self, until: float) -> None:
        """Let time pass, and restart receivers that ended."""
        while (left := until - time.monotonic()) > 0:
            self.supervisor.restart_ended()
            time.sleep(min(left, _POLL_S))

    def _cause(self, name: str, subject: Any) -> None:
        match name:
            case "send":
                self.monitoring.send(self.cluster.http, subject)
            case "forge":
                self._deliver(subject)
            case "kill one" | "kill both":
                for victim in subject:
                    victim.child.kill()
            case "aws":
                self.cluster.inject(**subject)
            case "database":
                self.cluster.database.kill()
                self.cluster.database.start()
            case "prometheus":
                self.monitoring.restart_prometheus()

    def _forge(
        self, real: Sequence[Mapping[str, Any]], kinds: Sequence[ForgeryKind], when: str = "storm"
    ) -> list[Forgery]:
        fleet = self.cluster.fleet()
        return forge(self.chance, real, fleet, kinds=kinds, when=f"{self.storms.number}-{when}")

    def _sent(self, forgeries: Sequence[Forgery]) -> set[str]:
        return {forgery.name for forgery in forgeries if forgery.name in self.sent}

    def _deliver(self, forgery: Forgery) -> None:
        if self.cluster.deliver(self.chance, forgery.alert):
            self.forgeries[forgery.kind] += 1
            if forgery.name is not None:
                self.sent.add(forgery.name)
        else:
            self.undelivered.append(forgery)

    def _restore(self) -> None:
        """Wait until all parts are ready; without a database a receiver may end meanwhile."""
        self.cluster.heal()
        until = time.monotonic() + _PATIENCE_S
        while not all(replica.serves for replica in self.cluster.replicas):
            if time.monotonic() > until:
                raise RuntimeError(f"a receiver was not ready again within {_PATIENCE_S:.0f} s")
            self.wait(time.monotonic() + _POLL_S)
        self.monitoring.wait_ready()

    def wait_given_back(self) -> None:
        """Wait until nothing is lent any more; after the timeout it counts as owed."""
        until = time.monotonic() + _PATIENCE_S
        while self.cluster.replicas[0].debts() and time.monotonic() < until:
            time.sleep(1)

    def _wait_ended(self, names: set[str], since: float) -> None:
        """Wait until each alert has an ended run; after the timeout an alert counts as lost."""
        started, told = time.monotonic(), False
        while (waited := time.monotonic() - started) < _PATIENCE_S:
            runs = self.cluster.replicas[0].runs(since)
            ended = {run["alert"]["labels"].get("n") for run in runs if run["ended_at"]}
            if names <= ended:
                return
            if waited > _LONG_S and not told:
                told = True
                for run in runs:
                    if not run["ended_at"]:
                        steps = [(step["action"], step["outcome"]) for step in run["steps"]]
                        click.echo(f"{run['id']} is {run['state']} after {steps}", err=True)
            time.sleep(1)


def chaos(folder: Path, *, rounds: int, incidents: int, seed: int) -> ChaosReport:
    """Play the rounds, each with `incidents`. One seed gives disasters at the same moments."""
    (folder / "playbooks").mkdir()
    (folder / "playbooks/chaos.yaml").write_text(_PLAYBOOK)
    (folder / "playbooks/healthy.yaml").write_text(HEALTHY_PLAYBOOK)
    began = time.time()
    with Processes(folder / "logs") as processes:
        monitoring = ChaosMonitoring(processes, folder)
        spec = ClusterSpec(
            folder=folder,
            playbooks=folder / "playbooks",
            settings={"SMARTCLOUDOPS_VERIFY_INTERVAL_S": "0.5"},
        )
        with run_cluster(processes, spec, monitoring.start) as cluster:
            supervisor = Supervisor(cluster.replicas)
            chance = random.Random(seed)
            run = _Chaos(cluster, monitoring, supervisor, chance, Storms(chance))
            time.sleep(3)
            for number in range(rounds):
                started, before = time.monotonic(), monitoring.deliveries(cluster.http)
                disasters = run.round(incidents)
                if number + 1 < rounds:
                    # Alertmanager sends the resolved alerts before the next storm begins.
                    run.wait(started + _ROUND_S + _ENDS_S + _CALM_S)
                took = time.monotonic() - started
                deliveries = monitoring.deliveries(cluster.http) - before
                click.echo(
                    f"round {number + 1} of {rounds}: {took:.0f} s, {', '.join(disasters)}; "
                    f"{deliveries.total} deliveries, {deliveries.tried_again} tried again, "
                    f"{deliveries.given_up} given up",
                    err=True,
                )
            run.wait_given_back()
            facts = ChaosFacts(
                sent=run.sent,
                caps=_CAPS,
                deliveries=monitoring.deliveries(cluster.http),
                rounds=rounds,
                disasters=run.disasters,
                forgeries=run.forgeries,
            )
            return evaluate(cluster, cluster.replicas[0].runs(began), facts, folder)


def main() -> int:
    """Run the rounds. Returns 0 if nothing was lost, doubled, exceeded, missing or kept."""
    rounds, incidents, seed = (int(value) for value in (*sys.argv[1:], "60", "500", "1")[:3])
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        report = chaos(Path(scratch), rounds=rounds, incidents=incidents, seed=seed)
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(asdict(report), indent=2) + "\n")
    click.echo(json.dumps(asdict(report), indent=2))
    return int(not report.sound)


if __name__ == "__main__":
    sys.exit(main())
