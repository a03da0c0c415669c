"""`smartcloudops demo`: start the environment, inject faults, show the remediations, sum up."""

import json
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from demo import failed_requests
from demo.fleet_choice import choose_machines
from demo.incidents import (
    ON_MACHINES,
    SCRIPT,
    Incident,
    Observed,
    UnknownFaultError,
    choose,
)
from demo.playback import Playback
from demo.stack import tools
from demo.stack.debian import ToolsError
from demo.stack.environment import (
    Environment,
    EnvironmentOptions,
    publish,
    start_environment,
)
from demo.stack.processes import ProcessError, Processes, end_with_make
from receiver.runtime.printable import printable

_FOLDER = Path(".demo")
_FIGURES = Path("build/demo.json")
_WATCH = {"SMARTCLOUDOPS_WATCH": 'asg=~".+"', "SMARTCLOUDOPS_WATCH_INTERVAL": "5"}
_SEED = 7
_SIMULATED = 12
# The callers write what they counted once every request has ended.
_COUNTED_S = 13
_SETTLED_S, _WATCHED_S = 300, 10
# A busy machine takes its time to run a fault.
_ANSWER_S = 90
_COLOURS = {
    "fleet": "red",
    "prometheus": "yellow",
    "receiver": "cyan",
    "aws": "magenta",
    "demo": "green",
}


class Timeline:
    """Prints one line for each event, with the seconds since the start, and a status line."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._status: Status | None = None
        self._lock = threading.Lock()

    def head(self, text: str) -> None:
        self.console.rule(escape(text))

    def say(self, component: str, text: str) -> None:
        colour = _COLOURS.get(component, "white")
        elapsed = time.monotonic() - self._started
        self.console.print(
            f"[dim]{elapsed:6.1f} s[/]  [{colour}]{component:<10}[/]  {escape(printable(text))}"
        )

    def waiting(self, text: str) -> None:
        """Show a status line until `stop_waiting`, on a terminal only."""
        if not self.console.is_terminal:
            return
        with self._lock:
            if self._status is None:
                self._status = self.console.status(escape(text))
                self._status.start()
            self._status.update(escape(text))

    def stop_waiting(self) -> None:
        with self._lock:
            if self._status is not None:
                self._status.stop()
                self._status = None


def run(*, once: bool, fleet: str | None = None, only: Sequence[str] = ()) -> int:
    """Run the demo; returns 0 if every incident ended as expected.

    `fleet` is "machines" (real ones) or "simulated"; by default machines where they start. `only`
    names the faults to play, by default all of the script.
    """
    end_with_make()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    timeline = Timeline()
    try:
        with Processes(_FOLDER / "logs") as processes:
            machines = choose_machines(fleet, timeline.say)
            script = choose(ON_MACHINES if machines else SCRIPT, only)
            return _play(processes, timeline, machines, script, once=once)
    except (ProcessError, ToolsError, UnknownFaultError, httpx.HTTPError) as error:
        timeline.stop_waiting()
        timeline.console.print(f"[red]the demo failed:[/] {escape(printable(str(error)))}")
        return 1
    except KeyboardInterrupt:
        timeline.stop_waiting()
        timeline.console.print("stopped")
        return 130


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _play(
    processes: Processes,
    timeline: Timeline,
    machines: Mapping[str, int],
    script: Sequence[Incident],
    *,
    once: bool,
) -> int:
    environment = start_environment(
        processes,
        tools.require(),
        EnvironmentOptions(
            folder=_FOLDER / "state", seed=_SEED, machines=machines, settings=_WATCH
        ),
        say=timeline.say,
    )
    publish(environment, _FOLDER / "endpoints.json")
    _links(environment, timeline)
    with httpx.Client(trust_env=False, timeout=_ANSWER_S) as http:
        _settle(environment, http, timeline, sum(machines.values()) or _SIMULATED)
        playback = Playback(
            environment=environment, http=http, screen=timeline, check=processes.check
        )
        observations = playback.play(script)
        if machines:
            time.sleep(_COUNTED_S)
            for incident, observed in zip(script, observations, strict=True):
                failed_requests.count(http, environment.aws, incident, observed)
    _sum_up(observations, environment, timeline)
    _FIGURES.parent.mkdir(exist_ok=True)
    _FIGURES.write_text(
        json.dumps([asdict(observed) for observed in observations], indent=2) + "\n"
    )
    as_expected = all(observed.ended_as_expected for observed in observations)
    if not once:
        _links(environment, timeline)
        timeline.say("demo", "everything runs until Ctrl-C")
        while True:
            time.sleep(1)
            processes.check()
    return 0 if as_expected else 1


def _settle(environment: Environment, http: httpx.Client, timeline: Timeline, members: int) -> None:
    """Wait until Prometheus has scraped every instance for some seconds."""
    until = time.monotonic() + _SETTLED_S
    since = time.time() + _WATCHED_S
    query = {"query": f'count(timestamp(up{{job="node"}} == 1) > {since:.0f})'}
    while time.monotonic() < until:
        answer = http.get(f"{environment.prometheus}/api/v1/query", params=query).json()
        result = answer["data"]["result"]
        up = int(result[0]["value"][1]) if result else 0
        if up >= members:
            timeline.stop_waiting()
            timeline.say("prometheus", f"scrapes {up} instances, found by EC2 service discovery")
            return
        timeline.waiting(f"{up} of {members} instances are scraped")
        time.sleep(0.5)
    raise ProcessError(f"Prometheus did not scrape all {members} instances within {_SETTLED_S} s")


def _links(environment: Environment, timeline: Timeline) -> None:
    for name in ("receiver", "prometheus", "alertmanager", "aws"):
        timeline.say("demo", f"{name:<12} {getattr(environment, name)}")
    timeline.say("demo", f"tokens and variables: {_FOLDER / 'endpoints.json'}")
    timeline.say("demo", f"the console: {environment.receiver}/, with the token of the operator")


def _sum_up(observations: Sequence[Observed], environment: Environment, timeline: Timeline) -> None:
    table = Table(title="What happened, in seconds from the fault", padding=0)
    for heading in ("fault", "detected", "decided", "acted", "recovered", "action"):
        table.add_column(heading, no_wrap=True)
    for observed in observations:
        detected = None if observed.alert_at is None else observed.alert_at - observed.fault_at
        mark = "[green]as expected[/]" if observed.ended_as_expected else "[red]NOT as expected[/]"
        table.add_row(
            observed.fault,
            _seconds(detected),
            _seconds(observed.decided_s),
            _seconds(observed.acted_s),
            _seconds(observed.recovered_s),
            f"{observed.action or 'nothing: ' + str(observed.refusal)}\n{mark}",
        )
    timeline.console.print(table)
    for observed in observations:
        if observed.requests_failed_act is not None:
            timeline.say(
                "fleet",
                f"{observed.fault}: {observed.requests_failed_fault} requests failed until the "
                f"act, {observed.requests_failed_act} from then to the recovery; "
                f"{_change('boot', observed.boot_before, observed.boot_after)}, "
                f"{_change('process', observed.process_before, observed.process_after)}",
            )
        if observed.received_s is not None and observed.acted_s is not None:
            took = observed.acted_s - observed.received_s
            timeline.say(
                "receiver", f"{observed.fault}: webhook to AWS call in {1000 * took:.0f} ms"
            )
    timeline.say("demo", "the runs:")
    for observed in observations:
        timeline.say("demo", f"{observed.fault:<14} {environment.receiver}/runs/{observed.run_id}")


def _change(what: str, before: str | None, after: str | None) -> str:
    return f"the same {what}" if before == after else f"{what} {before} became {after}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
