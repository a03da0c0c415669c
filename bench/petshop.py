"""`python -m bench.petshop FOLDER`: the gate `cause` on the incidents of a real application.

FOLDER has PetShop's data as published (amazon-science/petshop-root-cause-analysis): `graph.csv`,
`noissue/metrics.csv`, and for each incident `metrics.csv` and `target.json`, which names the
component that alerts and the one that was broken. Each incident goes through the reader of
dependencies and the gate as an alert of the service, with the metrics of the first five minutes
after its alert; two days without an incident are the past. Each five minutes of those days are
asked about, too: where the gate refuses then, its veto is false.
"""

import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs

import click
import httpx

from actions.base import TargetKind
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.decision.guards.base import GuardInput
from receiver.decision.guards.dependencies import require_own_cause
from receiver.decision.model import Snapshot, Trigger
from receiver.evidence.dependencies.file import Dependencies
from receiver.evidence.dependencies.reader import DependencyReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.target import Target
from receiver.settings import Mode

# Of the two header lines: the metric and its statistic.
_READ = {
    ("requests", "Sum"): "requests",
    ("availability", "Average"): "availability",
    ("latency", "Average"): "latency",
}
_STEP_S = 300
_NOW = 1_800_000_000
# The past ends this long before the present.
_APART_S = 1_800

# Values by signal and component.
_Row = Mapping[str, Mapping[str, float]]


@dataclass
class Application:
    """What a Prometheus would answer about the application: its quiet days, and one row as now."""

    quiet: Sequence[_Row]
    now: _Row

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The range of one signal, as Prometheus answers it."""
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        start, end = float(form["start"]), float(form["end"])
        last = _NOW - _APART_S
        times = range(last - _STEP_S * (len(self.quiet) - 1), last + 1, _STEP_S)
        rows = [*zip(times, self.quiet, strict=True), (_NOW, self.now)]
        found: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        for time, row in rows:
            if start <= time <= end:
                for name, value in row.get(form["query"], {}).items():
                    found[name].append((time, repr(value)))
        series = [{"metric": {"component": name}, "values": found[name]} for name in found]
        data = {"resultType": "matrix", "result": series}
        headers = {"Date": formatdate(_NOW, usegmt=True)}
        return httpx.Response(200, json={"status": "success", "data": data}, headers=headers)


@dataclass(frozen=True)
class Incident:
    """An alert about `target`; `broken` is what was broken."""

    name: str
    target: str
    broken: str
    row: _Row


def main(folder: Path) -> None:
    """Print a line an incident, and how often the veto fires without one."""
    for graph in sorted(folder.rglob("graph.csv")):
        _play(graph.parent)


def _play(folder: Path) -> None:
    application = Application([row for _, row in _rows(folder / "noissue" / "metrics.csv")], {})
    client = httpx.Client(transport=httpx.MockTransport(application.answer))
    with ThreadPoolExecutor(3) as pool:
        reader = DependencyReader(
            dependencies=Dependencies(
                depends_on=_edges(folder / "graph.csv"),
                requests="requests",
                failures="failures",
                latency="latency",
            ),
            prometheus=Prometheus(url="http://prometheus", client=client, clock=lambda: _NOW),
            pool=pool,
        )
        alone, ranks, targets = 0, list[int](), set[str]()
        incidents = list(_incidents(folder))
        for incident in incidents:
            application.now = incident.row
            targets.add(incident.target)
            refused, named = _decide(reader, incident.target)
            alone += refused
            rank = named.index(incident.broken) + 1 if incident.broken in named else 0
            ranks.append(rank)
            click.echo(
                f"{incident.name}: {incident.target}"
                f" {'left alone' if refused else 'NOT LEFT ALONE'}, {incident.broken} was broken"
                f" and is {f'named as number {rank}' if rank else 'not named'};"
                f" named: {', '.join(named[:3]) or 'none'}"
            )
        vetoes = 0
        for target in targets:
            for row in application.quiet:
                application.now = row
                vetoes += _decide(reader, target)[0]
    asked = len(targets) * len(application.quiet)
    click.echo(
        f"{folder.name}: {alone} of {len(incidents)} left alone; the broken component first in"
        f" {sum(rank == 1 for rank in ranks)}, among the first three in"
        f" {sum(rank in (1, 2, 3) for rank in ranks)};"
        f" {vetoes} false vetoes in {asked} quiet windows ({vetoes / max(asked, 1):.1%})"
    )


def _decide(reader: DependencyReader, target: str) -> tuple[bool, Sequence[str]]:
    """Whether the gate refuses an alert of this service, and the components that it names."""
    labels = {"alertname": "ServiceUnwell", "service": target}
    suspects = reader.read(Target(id=target, group=target), labels, _NOW)
    snapshot = Snapshot(
        mode=Mode.AUTO,
        paused=False,
        resolved=False,
        last_seen_at=_NOW,
        gap_s=360,
        target=target,
        kind=TargetKind.GROUP,
        group=target,
        claims={},
        suspects=suspects,
    )
    inputs = GuardInput(
        trigger=Trigger(run_id="", labels=labels, starts_at=_NOW, malformed=None),
        verdict=None,
        playbooks=[],
        snapshot=snapshot,
        now=_NOW,
    )
    gate = require_own_cause(inputs)
    refused = isinstance(gate, Refusal) and gate.reason is Reason.CAUSE_ELSEWHERE
    return refused, [suspect.component for suspect in suspects or ()]


def _edges(file: Path) -> Mapping[str, Sequence[str]]:
    """What each component calls: a row a caller, with a 1 for each that it calls."""
    with file.open(newline="") as text:
        names, *rows = csv.reader(text)
    return {
        caller: [name for name, called in zip(names[1:], calls, strict=True) if float(called or 0)]
        for caller, *calls in rows
    }


def _incidents(folder: Path) -> Iterator[Incident]:
    for file in sorted(folder.rglob("target.json")):
        told = json.loads(file.read_text())
        at = told["target"]["timestamp"]
        rows = [row for time, row in _rows(file.with_name("metrics.csv")) if time >= at]
        yield Incident(
            name=str(file.parent.relative_to(folder)),
            target=told["target"]["node"],
            broken=told["root_cause"]["node"],
            row=rows[0],
        )


def _rows(file: Path) -> Iterator[tuple[float, _Row]]:
    with file.open(newline="") as text:
        names, metrics, statistics, _, *rows = csv.reader(text)
    heads = list(zip(names, metrics, statistics, strict=True))
    for row in rows:
        found: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for (name, *what), value in zip(heads, row, strict=True):
            signal = _READ.get((what[0], what[1]))
            if signal and value and math.isfinite(float(value)):
                found[signal][name] = float(value)
        requests = {name: value / _STEP_S for name, value in found["requests"].items()}
        failures = {
            name: requests[name] * (1 - value / 100)
            for name, value in found["availability"].items()
            if name in requests
        }
        yield (
            float(row[0]),
            {"requests": requests, "failures": failures, "latency": found["latency"]},
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
