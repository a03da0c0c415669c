"""`make chaos`: receivers, database and Prometheus killed at random in a storm, AWS failing.

Two receivers on one PostgreSQL, each started again a second after it ended, behind a real HAProxy
and a real Alertmanager that retries and repeats by itself.
Afterwards the emulated AWS's log of calls is held against what is on record: nothing lost, nothing
done twice, no limit exceeded, no call without a record and no record without a call.
"""

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from bench.chaos.cluster import TOKEN, Cluster, Replica, Supervisor, cluster
from bench.chaos.report import Caps, Deliveries, Verdict, delivered, judged
from demo.stack import haproxy, tools
from demo.stack.monitoring import Chain, start_chain
from demo.stack.monitoring_config import Surroundings, Timings
from demo.stack.processes import Processes, wait_ready
from receiver.http.tokens import Role

_OUT = Path("build/chaos.json")
_TIMINGS = Timings(scrape="1s", evaluation="1s", hold="10s", discovery="1s")
# Over 60 rounds some of them bite, towards the end.
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
recheck: ['up{{instance_id="$instance_id"}} == bool 1']
steps: [{{action: reboot_instance}}]
verify: {{expr: 'up{{instance_id="$instance_id"}} == bool 1', for: 0s, timeout: 30s}}
"""
# Of each group so many are struck in a round: a third one would be a storm, and nothing would act.
_STRUCK = 2
# Alertmanager tells of an end at the next `group_interval`.
_ROUND_S, _ENDS_S, _CALM_S, _PATIENCE_S = 10.0, 20.0, 15.0, 150.0
_CHUNKS = 20
_NOW_AND_THEN = 0.2
_LOOK_S = 0.1
_FAULTS: Sequence[Mapping[str, object]] = (
    {"service": "ec2", "operation": "RebootInstances", "kind": "drop_after"},
    {"service": "ec2", "operation": "RebootInstances", "kind": "delay", "delay_s": 3.0},
    {"service": "ec2", "operation": "RebootInstances", "kind": "error", "status": 500},
    {
        "service": "ec2",
        "operation": "RebootInstances",
        "kind": "error",
        "status": 503,
        "code": "RequestLimitExceeded",
    },
    {"service": "ec2", "operation": "DescribeInstances", "kind": "error", "status": 500},
    {"service": "autoscaling", "operation": "*", "kind": "delay", "delay_s": 1.0},
)


@dataclass
class _Chaos:
    """What goes on: the chain's processes, who was struck, and what was sent."""

    processes: Processes
    folder: Path
    chance: random.Random
    found: Chain | None = None
    sent: set[str] = field(default_factory=set)
    disasters: Counter[str] = field(default_factory=Counter)
    turn: int = 0

    def chain(self, aws: str, receivers: Sequence[str]) -> str:
        """Start Prometheus, Alertmanager and the proxy around the receivers; Prometheus' URL."""
        around = Surroundings(
            aws=aws,
            receiver=receivers[0],
            replicas=receivers[1:],
            proxy=haproxy.start(self.processes, folder=self.folder / "proxy", receivers=receivers),
            token_file=self.folder / TOKEN,
        )
        self.found = start_chain(
            self.processes,
            tools=tools.require(),
            state=self.folder / "chain",
            around=around,
            timings=_TIMINGS,
        )
        return self.found.prometheus_url

    @property
    def around(self) -> Chain:
        if self.found is None:
            raise RuntimeError("the chain is not started")
        return self.found

    def deliveries(self, made: Cluster) -> Deliveries:
        around = self.around
        return delivered(made.http, around.alertmanager_urls[0], around.alertmanagers[0].log)

    def round(self, made: Cluster, supervisor: Supervisor, incidents: int) -> list[str]:
        """One storm with its disasters, until all that was sent has ended; the disasters' names."""
        began, started = time.time(), time.monotonic()
        sent = self._alerts(self._struck(made), incidents)
        size = -(-incidents // _CHUNKS)
        moments = [
            (self.chance.uniform(0, _ROUND_S), ("send", sent[at : at + size]))
            for at in range(0, len(sent), size)
        ]
        moments += [(self.chance.uniform(0, _ROUND_S), one) for one in self._disasters(made)]
        moments.sort(key=itemgetter(0))
        for at, (what, about) in moments:
            _pass(supervisor, started + at)
            self.disasters[what] += 1
            self._happen(made, what, about)
        self._mend(made, supervisor)
        self._ended(made, {one["labels"]["n"] for one in sent}, began)
        return [what for _, (what, _) in moments if what != "send"]

    def _happen(self, made: Cluster, what: str, about: Any) -> None:
        match what:
            case "send":
                url = f"{self.around.alertmanager_urls[0]}/api/v2/alerts"
                made.http.post(url, json=about).raise_for_status()
            case "kill one" | "kill both":
                for victim in about:
                    victim.child.kill()
            case "aws":
                made.inject(**about)
            case "database":
                made.database.kill()
                made.database.start()
            case "prometheus":
                self.around.prometheus.kill()
                again = self.processes.start("prometheus", self.around.prometheus.command)
                self.found = replace(self.around, prometheus=again)

    def _disasters(self, made: Cluster) -> Iterator[tuple[str, Any]]:
        for _ in range(self.chance.randint(1, 2)):
            victims = self.chance.sample(made.replicas, self.chance.choice((1, 1, 2)))
            yield "kill both" if len(victims) > 1 else "kill one", victims
        for fault in self.chance.sample(_FAULTS, 2):
            yield "aws", {**fault, "times": self.chance.randint(1, 3)}
        if self.chance.random() < _NOW_AND_THEN:
            yield "database", None
        if self.chance.random() < _NOW_AND_THEN:
            yield "prometheus", None

    def _struck(self, made: Cluster) -> list[Mapping[str, Any]]:
        """The next of each group in turn."""
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for one in sorted(made.fleet(), key=lambda one: one["instance_id"]):
            groups.setdefault(one["asg"], []).append(one)
        first = self.turn * _STRUCK
        self.turn += 1
        return [
            members[(first + number) % len(members)]
            for members in groups.values()
            for number in range(_STRUCK)
        ]

    def _alerts(self, struck: Sequence[Mapping[str, Any]], incidents: int) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        found = []
        for number in range(incidents):
            target = self.chance.choice(struck)
            name = f"{self.turn}-{number}"
            self.sent.add(name)
            labels = {
                # A delivery of its own, as incidents have: Alertmanager groups by the name.
                "alertname": f"Chaos-{name}",
                "remediation": "chaos",
                "severity": self.chance.choice(("warning", "info")),
                "instance_id": target["instance_id"],
                "asg": target["asg"],
                "n": name,
            }
            ends = now + timedelta(seconds=_ENDS_S + _ROUND_S)
            found.append(
                {"labels": labels, "startsAt": now.isoformat(), "endsAt": ends.isoformat()}
            )
        return found

    def _mend(self, made: Cluster, supervisor: Supervisor) -> None:
        """Wait until all is there again; a receiver may end meanwhile for want of a database."""
        made.heal()
        until = time.monotonic() + _PATIENCE_S
        while not all(one.serves for one in made.replicas):
            if time.monotonic() > until:
                raise RuntimeError("a receiver does not get ready again")
            _pass(supervisor, time.monotonic() + _LOOK_S)
        wait_ready(self.around.prometheus, f"{self.around.prometheus_url}/-/ready")

    def _ended(self, made: Cluster, names: set[str], since: float) -> None:
        """Wait until each has a run that is over; what has none by then is lost."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            found = stories(made.replicas[0], since)
            over = {one["alert"]["labels"].get("n") for one in found if one["ended_at"]}
            if names <= over:
                return
            time.sleep(1)


def _pass(supervisor: Supervisor, until: float) -> None:
    """Let time pass, in which a receiver that ended is started again."""
    while (left := until - time.monotonic()) > 0:
        supervisor.look()
        time.sleep(min(left, _LOOK_S))


def stories(replica: Replica, since: float) -> list[dict[str, Any]]:
    """All runs since then."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    when = datetime.fromtimestamp(since, UTC).isoformat()
    while cursor is not None:
        params = {"since": when, "limit": "500"} | ({"cursor": cursor} if cursor else {})
        page = replica.call("GET", "/api/v1/runs", Role.VIEWER, params=params).json()
        found += page["items"]
        cursor = page["next_cursor"]
    return found


def chaos(folder: Path, *, rounds: int, incidents: int, seed: int) -> Verdict:
    """So many rounds of so many incidents each. The same seed strikes at the same moments."""
    (folder / "playbooks").mkdir()
    (folder / "playbooks/chaos.yaml").write_text(_PLAYBOOK)
    began = time.time()
    with Processes(folder / "logs") as processes:
        # A storm is no game of chance about secrets.
        going = _Chaos(processes, folder, random.Random(seed))
        with cluster(
            processes,
            folder,
            playbooks=folder / "playbooks",
            prometheus=going.chain,
            settings={"SMARTCLOUDOPS_VERIFY_INTERVAL_S": "0.5"},
        ) as made:
            supervisor = Supervisor(made.replicas)
            time.sleep(3)
            for number in range(rounds):
                started, before = time.monotonic(), going.deliveries(made)
                disasters = going.round(made, supervisor, incidents)
                if number + 1 < rounds:
                    # Alertmanager says that these are over: they are no part of the next storm.
                    _pass(supervisor, started + _ROUND_S + _ENDS_S + _CALM_S)
                took, found = time.monotonic() - started, going.deliveries(made) - before
                click.echo(
                    f"round {number + 1} of {rounds}: {took:.0f} s, {', '.join(disasters)}; "
                    f"{found.total} deliveries, {found.tried_again} tried again, "
                    f"{found.given_up} given up",
                    err=True,
                )
            return judged(
                made,
                stories(made.replicas[0], began),
                going.sent,
                caps=_CAPS,
                deliveries=going.deliveries(made),
                folder=folder,
                rounds=rounds,
                disasters=going.disasters,
            )


def main() -> int:
    """0 where nothing was lost, doubled, exceeded or missing."""
    rounds, incidents, seed = (int(one) for one in (*sys.argv[1:], "60", "500", "1")[:3])
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        found = chaos(Path(scratch), rounds=rounds, incidents=incidents, seed=seed)
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(asdict(found), indent=2) + "\n")
    click.echo(json.dumps(asdict(found), indent=2))
    return int(not found.sound)


if __name__ == "__main__":
    sys.exit(main())
