"""`make kill-incidents`: a receiver is killed again and again while it shows incidents.

Slack, PagerDuty, Jira and a webhook are a server over HTTP that loses, repeats, delays and refuses
requests. In each round three alerts arrive and people answer; then the receiver is killed at a
random moment and started again. In the end the network is kind, and it is counted what people see.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx

from bench.chaos.killed_receiver import served as served_aws
from bench.incidents.server import Channels, served
from bench.incidents.shown import Shown, read_shown
from bench.incidents.world import World
from bench.load.service import Served, serve
from bench.load.traffic import all_up
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Timings
from demo.aws.world import Group
from demo.stack.processes import Processes
from receiver.db.database import database
from receiver.http.access.callers import Role

_MISFORTUNES, _KILLED_WITHIN_S, _PATIENCE_S, _SETTLED_S = 0.3, 6.0, 120.0, 900.0
_TIMINGS = Timings(launch_s=3.0, start_s=1.0, boot_s=0.0, terminate_s=2.0, drain_s=1.0)
# What people do about an alert, and how its messages begin in the end.
_ENDS = {"approve": "Over", "deny": "Over", "leave": "Approval needed", "no": "A person is needed"}
_PLAYBOOK = """
name: asked
match: ['alertname=~"Asked.*"']
mode: approve
limits: {playbook_per_hour: 1000, blast_radius: 50%}
recheck: ['up{instance_id="$instance_id"} == bool 1']
steps: [{action: reboot_instance}]
verify: {expr: 'count(up) > bool 0', for: 0s, timeout: 30s}
"""
_CHANNELS = """
slack: {{token_file: {secret}, channel: C0DE, url: "{url}/slack"}}
pagerduty: {{key_file: {secret}, url: "{url}/pagerduty"}}
jira: {{url: "{url}/jira", user: bot, token_file: {secret}, project: OPS}}
cloudevents: {{url: "{url}/cloudevents", secret_file: {secret}}}
"""


@dataclass
class _Night:
    """The alerts of one night, each of a group of its own, and what people do about them."""

    emulator: Emulator
    chance: random.Random
    service: Served
    chosen: dict[str, str] = field(default_factory=dict)

    def deliver(self) -> None:
        """An alert of a playbook that asks, or one that no playbook handles."""
        number = len(self.chosen)
        end = self.chance.choice([*_ENDS])
        name = f"{'Unknown' if end == 'no' else 'Asked'}{number}"
        hosts = [f"i-{number:08x}{member:09x}" for member in range(6)]
        with self.emulator.lock:
            group = Group(f"g{number}", 4, 12, len(hosts))
            self.emulator.world.add_group(group, hosts, self.emulator.core.now - 86_400)
        labels = {"alertname": name, "instance_id": hosts[0], "asg": group.name}
        alert = {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
        self._post("/webhook/alertmanager", Role.WEBHOOK, {"version": "4", "alerts": [alert]})
        self.chosen[name] = end

    def answer(self) -> bool:
        """Answer what waits, as chosen. Whether nothing is left to answer."""
        asked = [run for run in self._runs("awaiting_approval") if self._end(run) != "leave"]
        for run in asked:
            body = {"comment": "as chosen", "plan": run["plan"]["digest"]}
            self._post(f"/api/v1/runs/{run['id']}/{self._end(run)}", Role.OPERATOR, body)
        answered = {name for name, end in self.chosen.items() if end in {"approve", "deny"}}
        over = {_name(run) for run in self._runs() if run["ended_at"]}
        return answered <= over

    def unremedied(self) -> Iterator[str]:
        """Runs that were approved and did not succeed."""
        for run in self._runs():
            if self._end(run) == "approve" and run["state"] != "succeeded":
                yield f"{_name(run)} is {run['state']}"

    def titles(self) -> Mapping[str, str]:
        return {name: _ENDS[end] for name, end in self.chosen.items()}

    def _end(self, run: Mapping[str, Any]) -> str:
        return self.chosen[_name(run)]

    def _runs(self, state: str = "") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.service.get(
            f"/api/v1/runs?limit=500{f'&state={state}' if state else ''}"
        ).json()["items"]
        return items

    def _post(self, path: str, role: Role, body: Mapping[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self.service.tokens[role]}"}
        url = f"{self.service.url}{path}"
        httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60).raise_for_status()


def _name(run: Mapping[str, Any]) -> str:
    return str(run["alert"]["labels"]["alertname"])


@dataclass(frozen=True, kw_only=True)
class Result:
    """`in_calls`: kills while a call of a channel was under way."""

    kills: int
    in_calls: int
    misfortunes: Mapping[str, int]
    answers_lost: int
    shown: Shown
    unremedied: list[str]

    @property
    def faults(self) -> list[str]:
        found = [*self.shown.wrong, *self.unremedied]
        found += [f"{self.shown.lost} details lost"] if self.shown.lost else []
        # A kill loses at most the answer of the one call that is under way.
        if self.shown.extra > self.answers_lost + self.kills:
            found.append(f"{self.shown.extra} extra messages")
        return found


def kill_and_show(folder: Path, kills: int, seed: int) -> Result:
    """Raises ProcessError, or TimeoutError where a run does not end."""
    (folder / "playbooks").mkdir()
    (folder / "playbooks/asked.yaml").write_text(_PLAYBOOK)
    (folder / "secret").write_text("s3cret")
    chance = random.Random(seed)
    emulator = Emulator(Core(time.time, _TIMINGS))
    channels = Channels(World(), random.Random(seed + 1), _MISFORTUNES)
    in_calls = 0
    with (
        Processes(folder / "logs") as processes,
        all_up() as prometheus,
        served_aws(emulator) as aws,
        served(channels) as url,
    ):
        file = folder / "incidents.yaml"
        file.write_text(_CHANNELS.format(url=url, secret=folder / "secret"))
        settings = {
            "PLAYBOOKS": str(folder / "playbooks"),
            "PROMETHEUS_URL": prometheus,
            "AWS": aws,
            "MODE": "auto",
            "CLOUDTRAIL": "false",
            "VERIFY_INTERVAL_S": "1",
            "UNHANDLED_AFTER": "2s",
            # Nobody repeats these alerts.
            "EPISODE_GAP_S": "86400",
            "INCIDENTS": str(file),
        }
        night = _Night(emulator, chance, serve(processes, folder, "receiver", **settings))
        for _ in range(kills):
            for _ in range(3):
                night.deliver()
            time.sleep(chance.uniform(0, _KILLED_WITHIN_S))
            night.answer()
            time.sleep(chance.uniform(0, _KILLED_WITHIN_S))
            in_calls += channels.under_way > 0
            night.service.child.kill()
            night.service = serve(processes, folder, "receiver", **settings)
        channels.share = 0.0
        _wait(night.answer, _PATIENCE_S)
        state = database(f"sqlite:///{folder}/state.db")

        def is_settled() -> bool:
            shown = read_shown(state, channels.world, night.titles())
            return channels.all_arrived() and not shown.wrong and not shown.unsettled

        try:
            _wait(is_settled, _SETTLED_S)
        except TimeoutError as error:
            click.echo(f"not settled: {error}", err=True)
        return Result(
            kills=kills,
            in_calls=in_calls,
            misfortunes=dict(channels.misfortunes),
            answers_lost=channels.answers_lost,
            shown=read_shown(state, channels.world, night.titles()),
            unremedied=[*night.unremedied()],
        )


def _wait(holds: Callable[[], bool], patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"not reached within {patience_s:g} s")
        time.sleep(0.5)


def main() -> int:
    """Returns 0 where people see the right thing in the end."""
    kills, seed = (int(argument) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="incidents-") as scratch:
        result = kill_and_show(Path(scratch), kills, seed)
    shown = result.shown
    click.echo(f"kills {result.kills}, in a call {result.in_calls}; incidents {shown.incidents}")
    click.echo(f"misfortunes {dict(sorted(result.misfortunes.items()))}")
    click.echo(f"answers lost {result.answers_lost}, extra {shown.extra}, lost {shown.lost}")
    click.echo(f"faults: {result.faults or 'none'}")
    return int(bool(result.faults))


if __name__ == "__main__":
    sys.exit(main())
