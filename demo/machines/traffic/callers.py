"""Starts the callers outside of the machines, sets their pace, and reads what they counted."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from demo.fleet.workload import usual_requests
from demo.machines.traffic import load
from demo.stack.processes import bound_to_this_process

# Requests a second for each machine on a usual day, of the sixty that a simulated host gets.
_SCALE = 3.0 / 60.0
# The users of a surge for each machine of the usual size of a group: eleven ask for ten reports a
# second in all, as many as one machine writes, and three machines for two serve them with ease.
_USERS, _SURGE_S = 11, 600.0
_PACE_S = 5.0


@dataclass
class Callers:
    """Use as a context manager, from a thread that lasts. `day` is the time by which they come."""

    sizes: Mapping[str, int]
    ports: Mapping[str, int]
    folder: Path
    day: Callable[[], float] = time.time
    _surges: dict[str, float] = field(default_factory=dict, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)

    def __enter__(self) -> Self:
        self._pace()
        self._process = subprocess.Popen(
            bound_to_this_process([sys.executable, "-m", load.__name__, str(self.folder)]),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=self._pace_for_ever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._process.kill()
        self._process.wait()

    def surge(self, group: str) -> None:
        self._surges[group] = time.time() + _SURGE_S
        self._pace()

    def calm(self) -> None:
        self._surges.clear()
        self._pace()

    def count(self, since: float, until: float) -> Mapping[str, Mapping[str, int]]:
        """`sent`, `failed` and `slow` of the requests sent in that time, by group."""
        groups = {self._url(group): group for group in self.sizes}
        counts: dict[str, Counter[str]] = {group: Counter() for group in self.sizes}
        for line in (self.folder / "requests.jsonl").read_text().splitlines():
            told = json.loads(line)
            if since <= told["time"] < until:
                counts[groups[told["url"]]].update(
                    {name: told[name] for name in ("sent", "failed", "slow")}
                )
        return counts

    def _url(self, group: str) -> str:
        return f"http://127.0.0.1:{self.ports[group.removesuffix('-asg')]}"

    def _pace_for_ever(self) -> None:
        while not self._ended.wait(_PACE_S):
            self._pace()

    def _pace(self) -> None:
        now = time.time()
        rates = {
            self._url(group): size * _SCALE * float(usual_requests(group, np.asarray(self.day())))
            for group, size in self.sizes.items()
        }
        users = {
            self._url(group): _USERS * size if self._surges.get(group, 0.0) > now else 0
            for group, size in self.sizes.items()
        }
        for name, by_url in (("rates", rates), ("users", users)):
            new = self.folder / f"{name}.new"
            new.write_text(json.dumps(by_url))
            new.replace(self.folder / f"{name}.json")
