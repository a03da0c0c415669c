"""What the watch of many hosts costs: CPU of a look, as a share of a core, and its queries.

`python -m bench.load.watch_cost` prints it for 500 hosts. This process plays Prometheus, too, and
does not count that CPU.
"""

import math
import random
import re
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from itertools import count
from urllib.parse import parse_qs

import click
import httpx
import numpy as np

from models.features.signals import ROLES, Unit
from models.inference.artifact import load_shipped
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.playbooks.matchers import parse_all
from receiver.watch.member import SLOW_STEP_S, Member
from receiver.watch.scores import Scores
from receiver.watch.watcher import CPU_SHARE, Watcher

_AT = 1_800_000_000.0
_INTERVAL_S, _GROUP, _READ = 60.0, 50, 5
_USUAL = {Unit.RATIO: 0.3, Unit.BYTES: 2.0**31, Unit.SECONDS: 0.01}
_IDS, _NAMES = re.compile(r'instance_id=~"([^"]+)"'), re.compile(r'"(role|resource)", "(\w+)"')
_RANDOM = random.Random(1)
_NOISE = [_RANDOM.uniform(-0.05, 0.05) for _ in range(4096)]
# What a host's metric is at a moment; None for no sample.
Value = Callable[[str, str, float], float | None]


@dataclass
class PlayedPrometheus:
    """Hosts by their groups, with values from `value`; counts the questions."""

    groups: Mapping[str, str]
    value: Value
    now: float = _AT
    down: bool = False
    queries: list[str] = field(default_factory=list)

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.queries.append(form["query"])
        if self.down:
            return httpx.Response(503)
        matrix = request.url.path.endswith("query_range")
        data = {
            "resultType": "matrix" if matrix else "vector",
            "result": self._series(form) if matrix else self._members(),
        }
        date = {"Date": formatdate(self.now, usegmt=True)}
        return httpx.Response(200, headers=date, json={"status": "success", "data": data})

    def _members(self) -> list[object]:
        return [
            {"metric": {"instance_id": name, "asg": group}, "value": [self.now, "1"]}
            for name, group in self.groups.items()
        ]

    def _series(self, form: Mapping[str, str]) -> list[object]:
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        times = np.arange(start, end + step / 2, step).tolist()
        asked = _IDS.search(form["query"])
        series: list[object] = []
        for host in asked[1].split("|") if asked else ():
            for label, name in dict.fromkeys(_NAMES.findall(form["query"])):
                values = [(at, self.value(host, name, at)) for at in times]
                metric = {"instance_id": host, label: name}
                if name == "disk":
                    metric["mountpoint"] = "/"
                known = [[at, f"{one:.6g}"] for at, one in values if one is not None]
                if known:
                    series.append({"metric": metric, "values": known})
        return series


def calm(host: str, name: str, at: float) -> float:
    """The noisy day of a host."""
    usual = _USUAL.get(ROLES[name].unit, 20.0) if name in ROLES else 0.5
    day = 1 + 0.3 * math.sin(2 * math.pi * at / 86_400)
    return usual * (day + _NOISE[hash((host, name, at)) % len(_NOISE)])


def play(
    groups: Mapping[str, str], value: Value, interval_s: float = _INTERVAL_S
) -> tuple[PlayedPrometheus, Watcher]:
    """A watcher of these hosts with the shipped model, and its Prometheus, which has its clock."""
    played = PlayedPrometheus(groups, value)
    model = load_shipped()
    watcher = Watcher(
        matchers=parse_all('asg=~".+"'),
        interval_s=interval_s,
        prometheus=Prometheus("http://prometheus", client=played.client, clock=lambda: played.now),
        exporters=lambda: (NODE_EXPORTER,),
        model=lambda: model,
        scores=Scores(),
        clock=lambda: played.now,
    )
    return played, watcher


@click.command()
@click.option("--hosts", default=500, show_default=True)
@click.option("--looks", default=5, show_default=True)
def main(hosts: int, looks: int) -> None:
    """Print the CPU of a look at so many hosts whose pasts are known, and of reading a past."""
    groups = {f"i-{number:08x}": f"group-{number // _GROUP}" for number in range(hosts)}
    played, watcher = play(groups, calm)
    clock = _OwnCpu(played)
    watcher.prometheus = Prometheus(
        "http://prometheus", client=clock.client, clock=lambda: played.now
    )
    # No CPU for pasts: those of all hosts but a few are filled in, for time's sake.
    watcher.cpu = count(0, 1000).__next__
    watcher.look()
    read = [watcher.members[name] for name in sorted(watcher.members)[:_READ]]
    for member in watcher.members.values():
        if member not in read:
            _fill(member, played.now)
    watcher.cpu = clock
    began = clock()
    for member in read:
        watcher.reader.load_past(member, played.now)
    past_ms = 1e3 * (clock() - began) / len(read)
    before, questions, scored = watcher.scores.cpu_s, len(played.queries), list[int]()
    for _ in range(looks):
        played.now += _INTERVAL_S
        watcher.look()
        scored.append(watcher.scored)
    share = (watcher.scores.cpu_s - before) / looks / _INTERVAL_S
    click.echo(
        f"{hosts} hosts, {len(ROLES)} roles: {share:.1%} of a core (scoring ends at "
        f"{CPU_SHARE:.0%}), {np.mean(scored):.0f} hosts scored a look, "
        f"{(len(played.queries) - questions) / looks:.1f} queries a look, "
        f"{past_ms:.0f} ms to read a new host's past"
    )


class _OwnCpu:
    """The thread's CPU seconds, without those of the Prometheus that it plays."""

    def __init__(self, played: PlayedPrometheus) -> None:
        self._played, self._spent_s = played, 0.0
        self.client = httpx.Client(transport=httpx.MockTransport(self._answer))

    def __call__(self) -> float:
        return time.thread_time() - self._spent_s

    def _answer(self, request: httpx.Request) -> httpx.Response:
        began = time.thread_time()
        response = self._played.answer(request)
        self._spent_s += time.thread_time() - began
        return response


def _fill(member: Member, now: float) -> None:
    """A past as if it had been read."""
    for grid, names, step_s in (
        (member.history, ROLES, 300.0),
        (member.recent, ROLES, 60.0),
        (member.slow, ("disk /", "memory", "swap"), SLOW_STEP_S),
    ):
        end = now // step_s * step_s
        times = [end - step_s * back for back in range(int(grid.length_s // step_s), -1, -1)]
        grid.times.extend(times)
        grid.columns |= {
            name: array("f", _calm_past(name, end, step_s, len(times))) for name in names
        }


@lru_cache
def _calm_past(name: str, end: float, step_s: float, rows: int) -> list[float]:
    return [calm("", name, end - step_s * back) for back in range(rows - 1, -1, -1)]


if __name__ == "__main__":
    main()
