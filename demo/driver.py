"""`smartcloudops demo`: set the stage, break things, show the healing, sum it up."""

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from demo.incidents import SCRIPT, Observed, Watcher
from demo.stack import tools
from demo.stack.environment import Stage, publish, set_up
from demo.stack.processes import ProcessError, Processes, end_with_make

_FOLDER = Path(".demo")
_FIGURES = Path("build/demo.json")
_SEED = 7
_MEMBERS = 12
_SETTLED_S, _WATCHED_S = 60, 10
_COLOURS = {
    "fleet": "red",
    "prometheus": "yellow",
    "receiver": "cyan",
    "aws": "magenta",
    "demo": "green",
}


class Timeline:
    """One line an event with the seconds since the start, and a status line while waiting."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._status: Status | None = None

    def say(self, component: str, text: str) -> None:
        colour = _COLOURS.get(component, "white")
        elapsed = time.monotonic() - self._started
        self.console.print(
            f"[dim]{elapsed:6.1f} s[/]  [{colour}]{component:<10}[/]  {escape(text)}"
        )

    def waiting(self, text: str) -> None:
        """Shown on a terminal only, and gone with the next event."""
        if not self.console.is_terminal:
            return
        if self._status is None:
            self._status = self.console.status(escape(text))
            self._status.start()
        self._status.update(escape(text))

    def rest(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def run(*, once: bool) -> int:
    """The exit status: 0 only where every incident ended as it should."""
    end_with_make()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    timeline = Timeline()
    try:
        with Processes(_FOLDER / "logs") as processes:
            return _play(processes, timeline, once=once)
    except (ProcessError, tools.ToolsError, httpx.HTTPError) as error:
        timeline.rest()
        timeline.console.print(f"[red]the demo failed:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        timeline.rest()
        timeline.console.print("stopped")
        return 130


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _play(processes: Processes, timeline: Timeline, *, once: bool) -> int:
    stage = set_up(
        processes,
        tools=tools.require(),
        folder=_FOLDER / "state",
        seed=_SEED,
        say=timeline.say,
    )
    publish(stage, _FOLDER / "endpoints.json")
    _links(stage, timeline)
    with httpx.Client(trust_env=False, timeout=10) as http:
        _settle(stage, http, timeline)
        watcher = Watcher(stage=stage, http=http, say=timeline.say, waiting=timeline.waiting)
        used: set[str] = set()
        seen = []
        for incident in SCRIPT:
            timeline.console.rule(f"{incident.fault} in {incident.group}")
            seen.append(watcher.play(incident, used))
            timeline.rest()
            timeline.say("receiver", f"because: {seen[-1].why}")
            processes.check()
    _sum_up(seen, stage, timeline)
    _FIGURES.parent.mkdir(exist_ok=True)
    _FIGURES.write_text(json.dumps([asdict(one) for one in seen], indent=2) + "\n")
    as_expected = all(one.ended_as_expected for one in seen)
    if not once:
        _links(stage, timeline)
        timeline.say("demo", "everything stays up until Ctrl-C")
        while True:
            time.sleep(1)
            processes.check()
    return 0 if as_expected else 1


def _settle(stage: Stage, http: httpx.Client, timeline: Timeline) -> None:
    """Wait until Prometheus has scraped every instance for a while: the past has them all, too."""
    until = time.monotonic() + _SETTLED_S
    since = time.time() + _WATCHED_S
    query = {"query": f'count(timestamp(up{{job="node"}} == 1) > {since:.0f})'}
    while time.monotonic() < until:
        found = http.get(f"{stage.prometheus}/api/v1/query", params=query).json()
        result = found["data"]["result"]
        up = int(result[0]["value"][1]) if result else 0
        if up >= _MEMBERS:
            timeline.rest()
            timeline.say("prometheus", f"scrapes {up} instances, found by EC2 service discovery")
            return
        timeline.waiting(f"{up} of {_MEMBERS} instances are scraped")
        time.sleep(0.5)
    raise ProcessError(f"Prometheus did not see all {_MEMBERS} instances in {_SETTLED_S} s")


def _links(stage: Stage, timeline: Timeline) -> None:
    for name in ("receiver", "prometheus", "alertmanager", "aws"):
        timeline.say("demo", f"{name:<12} {getattr(stage, name)}")
    timeline.say("demo", f"tokens and variables: {_FOLDER / 'endpoints.json'}")
    timeline.say("demo", f"the console: {stage.receiver}/, with the token of the operator")


def _sum_up(seen: Sequence[Observed], stage: Stage, timeline: Timeline) -> None:
    table = Table(title="What happened, in seconds from the fault", padding=0)
    for heading in ("fault", "detected", "decided", "acted", "recovered", "done"):
        table.add_column(heading, no_wrap=True)
    for one in seen:
        detected = None if one.alert_at is None else one.alert_at - one.fault_at
        mark = "[green]as it should[/]" if one.ended_as_expected else "[red]NOT as it should[/]"
        table.add_row(
            one.fault,
            _seconds(detected),
            _seconds(one.decided_s),
            _seconds(one.acted_s),
            _seconds(one.recovered_s),
            f"{one.action or 'nothing: ' + str(one.refusal)}\n{mark}",
        )
    timeline.console.print(table)
    for one in seen:
        if one.received_s is not None and one.acted_s is not None:
            took = one.acted_s - one.received_s
            timeline.say("receiver", f"{one.fault}: webhook to AWS call in {1000 * took:.0f} ms")
    timeline.say("demo", "the whole stories:")
    for one in seen:
        timeline.say("demo", f"{one.fault:<14} {stage.receiver}/runs/{one.run_id}")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
