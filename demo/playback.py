"""Plays the incidents of a script: those of different groups at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from demo import known_version
from demo.incidents import Incident, Observed, stages
from demo.stack.environment import Environment
from demo.watcher import Watcher


class Screen(Protocol):
    """Where people see what happens."""

    def head(self, text: str) -> None:
        """A line above what follows."""

    def say(self, component: str, text: str) -> None:
        """A line of one component."""

    def waiting(self, text: str) -> None:
        """The latest state, until `stop_waiting`."""

    def stop_waiting(self) -> None:
        """Nothing is waited for."""


@dataclass(kw_only=True)
class Playback:
    """`check` raises ProcessError where a process of the demo has ended."""

    environment: Environment
    http: httpx.Client
    screen: Screen
    check: Callable[[], None]
    _used: set[str] = field(default_factory=set, init=False)

    def play(self, script: Sequence[Incident]) -> Sequence[Observed]:
        """The records, in the order of the script. Raises ProcessError, httpx.HTTPError."""
        played: dict[str, Observed] = {}
        for stage in stages(script):
            pool = ThreadPoolExecutor()
            try:
                for done in as_completed([pool.submit(self._play, part) for part in stage]):
                    played |= done.result()
            finally:
                # An interrupt waits for none.
                pool.shutdown(wait=False, cancel_futures=True)
        return [played[incident.fault] for incident in script]

    def _play(self, sequence: Sequence[Incident]) -> dict[str, Observed]:
        return {incident.fault: self._play_one(incident) for incident in sequence}

    def _play_one(self, incident: Incident) -> Observed:
        self.screen.head(f"{incident.fault} in {incident.group}")
        if incident.approved == "restore_version":
            known_version.wait_for(self.http, self.environment, incident.group, self.screen.waiting)
        watcher = Watcher(
            environment=self.environment,
            http=self.http,
            say=self.screen.say,
            waiting=self.screen.waiting,
        )
        observed = watcher.play(incident, self._used)
        self.screen.stop_waiting()
        if incident.ended:
            self._end(incident)
        self.screen.say("receiver", f"because: {observed.why}")
        self.check()
        return observed

    def _end(self, incident: Incident) -> None:
        url, body = f"{self.environment.aws}/_sim/fleet/faults", {"target": incident.group}
        self.http.request("DELETE", url, json=body).raise_for_status()
