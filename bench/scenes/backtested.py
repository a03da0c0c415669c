"""Same hour, same decisions: `make backtest-demo`.

The service decides on labelled incidents, as in `make bench-decisions`, and Prometheus records
their alerts. Then a backtest of that hour, from Prometheus alone, must decide the same, gate by
gate; where it does not, the first gate that differs must rest on a fact that it names as assumed.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from actions.tables import audit
from backtest.decisions import ACT, ASSUMED, Decided, Result, differences
from backtest.incidents import Period
from backtest.past_prometheus import Answers
from backtest.session import Session, live_clients
from bench.scenes.backfill import make_setting
from bench.scenes.performance import Play, perform
from bench.scenes.performed import SCENE, Performed
from bench.scenes.remote_write import STALE, write_moment
from bench.scenes.scenarios import build_scenes
from bench.scenes.scene import Scene, Setting
from demo.aws.clients import clients
from receiver.playbooks.loader import load
from receiver.runs.model import GuardResult
from receiver.runs.queries import search

# Incidents that one Prometheus holds.
_BATCH = 24
# The condition that is changed, to another one that never holds.
_CHANGED, _CONDITION = "high-cpu.yaml", 'verdict.answer == "confirmed"'
_NEVER = f"{_CONDITION} and verdict.score > 2"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Whether an alert's first decision was made the `same` again, gate by gate.

    Else `detail` tells the first gate that differs, and `assumed` the assumed fact that it rests
    on; empty where it rests on none.
    """

    alert: str
    same: bool
    detail: str
    assumed: str


@dataclass(kw_only=True)
class RecordedPlay(Play):
    """A play whose Prometheus has `ALERTS`, and on which a backtest looks back.

    `performed` is what became of the scenes. `changed` are the incidents that are decided
    otherwise with a condition that never holds, `expected` those whose step had that condition.
    """

    with_changed: bool = True
    performed: list[Performed] = field(default_factory=list, init=False)
    compared: Sequence[Compared] = field(default=(), init=False)
    changed: frozenset[str] = field(default=frozenset(), init=False)
    expected: frozenset[str] = field(default=frozenset(), init=False)
    _alerts: frozenset[str] = field(default=frozenset(), init=False)

    def play(self) -> list[Performed]:
        self._record()
        self.performed = super().play()
        self._look_back()
        return self.performed

    def tick(self, playing: Sequence[Scene]) -> None:
        super().tick(playing)
        self._record()

    def _record(self) -> None:
        """Write what fires, as the Prometheus that evaluates the rules does."""
        firing = [
            "ALERTS{" + ",".join(f'{k}="{v}"' for k, v in told.items()) + "}"
            for _, labels in self.firing(self.scenes)
            for told in ({"alertstate": "firing", **labels},)
        ]
        ended = self._alerts - {*firing}
        samples = [*((name, 1.0) for name in firing), *((name, STALE) for name in ended)]
        write_moment(self.client, self.url, samples, self.now)
        self._alerts = frozenset(firing)

    def _look_back(self) -> None:
        again = self._backtest(self.folder / "playbooks")
        labels = {one.id: one.labels for one in again.incidents}
        first: dict[str, Decided] = {}
        for one in again.decisions:
            first.setdefault(_key(labels[one.incident]), one)
        self.compared = [
            _compare(key, gates, first.get(key)) for key, gates in self._first_gates().items()
        ]
        if self.with_changed:
            self._change_condition(again)

    def _change_condition(self, again: Result) -> None:
        changed = self.folder / "changed"
        shutil.copytree(self.folder / "playbooks", changed)
        file = changed / _CHANGED
        file.write_text(file.read_text().replace(_CONDITION, _NEVER))
        found = differences(again.decisions, self._backtest(changed).decisions)
        self.changed = frozenset(line.split()[0] for line in found)
        self.expected = frozenset(
            one.incident
            for one in again.decisions
            if one.playbook == file.stem and one.decision == ACT
        )

    def _backtest(self, playbooks: Path) -> Result:
        return Session(
            settings=self.settings,
            playbooks=load(playbooks),
            period=Period(since=self.setting.now - 60, until=self.now),
            answers=Answers(),
            live=live_clients(self.settings),
            aws=clients(self.aws),
            per_s=1e6,
        ).run()

    def _first_gates(self) -> Mapping[str, Sequence[GuardResult]]:
        """The gates of the first decision on each alert, by the records of the play."""
        with self.service.database.read() as connection:
            runs = search.list_runs(connection, limit=2_000)
            rows = connection.execute(
                select(audit.c.run_id, audit.c.detail)
                .where(audit.c.event.like("run_%"))
                .order_by(audit.c.seq)
            ).all()
        by_run: dict[str, Sequence[GuardResult]] = {}
        for run_id, detail in rows:
            gates = json.loads(detail).get("gates")
            if gates and run_id not in by_run:
                by_run[run_id] = [GuardResult(**gate) for gate in gates]
        first: dict[str, Sequence[GuardResult]] = {}
        for run in sorted(runs, key=lambda run: run.id):
            first.setdefault(_key(run.labels), by_run.get(run.id, ()))
        return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--incidents", type=int, default=48)
    options = parser.parse_args()
    now = time.time() // 3_600 * 3_600 - 3 * 3_600
    setting = make_setting(now, options.seed)
    scenes = build_scenes(setting, options.incidents)
    compared: list[Compared] = []
    as_expected = True
    for start in range(0, len(scenes), _BATCH):
        play = played(scenes[start : start + _BATCH], setting, options.seed)
        compared += play.compared
        as_expected = as_expected and play.changed == play.expected
        click.echo(f"{len(compared)} alerts", err=True)
    for one in compared:
        if not one.same:
            told = one.assumed or "NOT EXPLAINED"
            click.echo(f"{one.alert}: {one.detail}: {told}")
    same, explained = (sum(map(of, compared)) for of in (_same, _explained))
    click.echo(
        f"{len(compared)} alerts: {same} decided the same gate by gate, {explained} explained"
    )
    click.echo(f"a changed condition differs as expected: {'yes' if as_expected else 'NO'}")
    sys.exit(0 if explained == len(compared) and as_expected else 1)


def played(
    scenes: Sequence[Scene], setting: Setting, seed: int, *, with_changed: bool = True
) -> RecordedPlay:
    """Play the scenes, whose alerts start when they fire, and look back on them."""
    plays: list[RecordedPlay] = []
    for scene in scenes:
        scene.began_s = 0.0

    def make(**parts: Any) -> RecordedPlay:
        plays.append(RecordedPlay(with_changed=with_changed, **parts))
        return plays[0]

    perform(scenes, setting, seed, make)
    return plays[0]


def _same(compared: Compared) -> bool:
    return compared.same


def _explained(compared: Compared) -> bool:
    return compared.same or bool(compared.assumed)


def _key(labels: Mapping[str, str]) -> str:
    """An alert of the play: its name and its host, in its scene."""
    own = (f"{name}={text}" for name, text in sorted(labels.items()) if name != SCENE)
    return f"{labels.get(SCENE, '')} {' '.join(own)}"


def _compare(alert: str, live: Sequence[GuardResult], told: Decided | None) -> Compared:
    again = told.gates if told else ()
    assumed = detail = ""
    pairs = [_pair(gates) for gates in (live, again)]
    if told is not None and pairs[0] != pairs[1]:
        name, details = _first_difference(live, again)
        fact = ASSUMED.get(name, "")
        assumed = fact if fact in told.assumed else ""
        detail = f"{name}: {details}"
    return Compared(alert=alert, same=pairs[0] == pairs[1], detail=detail, assumed=assumed)


def _pair(gates: Sequence[GuardResult]) -> Sequence[tuple[str, bool]]:
    return [(gate.name, gate.passed) for gate in gates]


def _first_difference(live: Sequence[GuardResult], again: Sequence[GuardResult]) -> tuple[str, str]:
    """The name of the first gate that differs, and what each says there."""
    for one, other in zip(live, again, strict=False):
        if (one.name, one.passed) != (other.name, other.passed):
            return one.name, f"{one.detail!r}, then {other.detail!r}"
    shorter = min(len(live), len(again))
    last = [*live, *again][shorter:][:1]
    return (last[0].name, last[0].detail) if last else ("", "")


if __name__ == "__main__":
    main()
