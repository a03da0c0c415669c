"""How often the decision is the right one: `make bench-decisions SEED=n`.

Labelled incidents of many kinds, their metrics in a real Prometheus, each taken through the very
code that decides in production: records, AWS (as plain data), evidence, verdict, guards. Prints the
confusion matrix, writes build/decisions.json, and fails below 95 % or with any harmful act.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ulid import ULID

from actions.base import Impact
from actions.catalog.registry import CATALOG
from bench.scenes.backfill import moments, openmetrics
from bench.scenes.frozen_aws import StillAws
from bench.scenes.scenarios import KINDS, Scene, Setting, scenes
from demo.stack import tools
from demo.stack.processes import Processes
from models.inference.artifact import load_shipped
from models.inference.detector import judge
from receiver.db.database import database
from receiver.decision.model import Act, Ask, Refusal
from receiver.decision.pipeline import DecisionPipeline
from receiver.decision.snapshot import SnapshotReader
from receiver.evidence.aws_state import AwsReader
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus import Prometheus
from receiver.playbooks.loader import load
from receiver.runs import store
from receiver.settings import Mode
from receiver.webhook.episodes import Episode, Waiting
from receiver.webhook.payload import Alert

_ROOT = Path(__file__).parents[2]
_AT_ONCE = 48
_GOAL = 0.95
_NOTHING = "nothing"


@dataclass(frozen=True)
class Answered:
    """One alert of a scene: what was decided, and on whom."""

    action: str
    target: str
    asked: bool
    why: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=10, help="incidents of each kind")
    parser.add_argument("--verbose", action="store_true", help="tell each wrong answer")
    options = parser.parse_args()
    # A whole minute, some hours ago: Prometheus takes no samples of the future.
    now = time.time() // 3_600 * 3_600 - 3_600
    at = moments(now)
    setting = Setting(at=at, now=now, chance=random.Random(options.seed))
    made = scenes(setting, options.each)
    found: list[tuple[Scene, Sequence[Answered]]] = []
    for start in range(0, len(made), _AT_ONCE):
        some = made[start : start + _AT_ONCE]
        found += zip(some, _decided(some, setting), strict=True)
        print(f"{len(found)} of {len(made)} incidents", file=sys.stderr, flush=True)  # noqa: T201 progress
    sys.exit(_report(found, options.seed, verbose=options.verbose))


def _decided(some: Sequence[Scene], setting: Setting) -> list[Sequence[Answered]]:
    with tempfile.TemporaryDirectory() as name, Processes(Path(name) / "logs") as processes:
        folder, found = Path(name), tools.require()
        text = folder / "history.om"
        with text.open("w") as file:
            file.writelines(openmetrics(some, setting.at, setting.now))
        command: list[str | Path] = [
            found.promtool,
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "--quiet",
        ]
        processes.run(
            "history",
            [*command, "--max-block-duration=168h", text, folder / "data"],
            timeout_s=600,
        )
        text.unlink()
        (folder / "prometheus.yml").write_text("scrape_configs: []\n")

        def serve(port: int) -> Sequence[str | Path]:
            return (
                found.prometheus,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=30d",
                f"--web.listen-address=127.0.0.1:{port}",
            )

        _, url = processes.start_on_port("prometheus", serve, ready="/-/ready")
        return _all(some, setting, url, folder)


def _all(
    some: Sequence[Scene], setting: Setting, url: str, folder: Path
) -> list[Sequence[Answered]]:
    now = setting.now
    aws = StillAws(lambda: now, groups={scene.name: scene.aws for scene in some})
    state = database(f"sqlite:///{folder}/state.db")
    state.migrate("state")
    with ThreadPoolExecutor(16) as pool, Prometheus(url, timeout_s=20) as prometheus:
        pipeline = DecisionPipeline(
            playbooks=load(_ROOT / "playbooks"),
            snapshots=SnapshotReader(
                database=state,
                aws=AwsReader(aws=aws.clients(), pool=pool, trail=True),
                mode=Mode.AUTO,
                gap_s=360,
                arming_required=False,
                resolved=lambda _: (),
            ),
            prometheus=prometheus,
            pool=pool,
            gather=MetricsReader(prometheus=prometheus, pool=pool, deadline_s=20).gather,
            judge=partial(judge, load_shipped()),
        )
        answers: list[Sequence[Answered]] = []
        for scene in some:
            waiting = [_waiting(scene, *alert, now) for alert in scene.alerts]
            with state.write() as connection:
                store.take_in(connection, waiting, now)
            answers.append([_answer(pipeline, one, now) for one in waiting])
        state.engine.dispose()
        return answers


def _waiting(scene: Scene, name: str, target: str, now: float) -> Waiting:
    group_wide = target == scene.name
    labels = {"alertname": name, "asg": scene.name, "severity": "critical"}
    if name in {"HighCPU", "HighMemory", "DiskSpaceLow"}:
        labels["severity"] = "warning"
    if not group_wide:
        labels["instance_id"] = target
    alert = Alert(
        key=str(ULID())[-16:],
        fingerprint="0" * 16,
        firing=True,
        labels=labels,
        annotations={},
        starts_at=now - scene.began_s,
        ends_at=None,
    )
    return Waiting(id=str(ULID()), received_at=now - 1, alert=alert)


def _answer(pipeline: DecisionPipeline, waiting: Waiting, now: float) -> Answered:
    run = store.fresh(waiting, now)
    episode = Episode(
        key=waiting.alert.key,
        run_id=run.id,
        starts_at=waiting.alert.starts_at,
        last_seen_at=now - 1,
    )
    decision = pipeline.decide(run, lambda: episode, now).decision
    if isinstance(decision, Refusal):
        return Answered(_NOTHING, "", asked=False, why=f"{decision.reason}: {decision.detail}")
    if isinstance(decision, Act | Ask):
        plan = decision.plan
        return Answered(plan.step.action, plan.target, asked=isinstance(decision, Ask), why="")
    return Answered(_NOTHING, "", asked=False, why="only observed")


def _right(scene: Scene, answers: Sequence[Answered]) -> bool:
    """Every act is one of those that are right, and each of those is there."""
    done = {(one.action, one.target) for one in answers if one.action != _NOTHING}
    asked = all(one.asked is scene.asked for one in answers if one.action != _NOTHING)
    return done == scene.expect and asked


def _harm(scene: Scene, answers: Sequence[Answered]) -> bool:
    """Something is taken away that should not be, and nobody was asked."""
    return any(
        one.action != _NOTHING
        and not one.asked
        and (one.action, one.target) not in scene.expect
        and CATALOG[one.action].impact in {Impact.DISRUPTIVE, Impact.DESTRUCTIVE}
        for one in answers
    )


def _named(answers: Sequence[Answered] | frozenset[tuple[str, str]]) -> str:
    names = {one.action if isinstance(one, Answered) else one[0] for one in answers}
    return " + ".join(sorted(names - {_NOTHING})) or _NOTHING


def _report(found: Sequence[tuple[Scene, Sequence[Answered]]], seed: int, *, verbose: bool) -> int:
    confusion: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    right = dict.fromkeys(KINDS, 0)
    harmful = 0
    for scene, answers in found:
        confusion[scene.kind][_named(answers)] += 1
        right[scene.kind] += _right(scene, answers)
        harmful += _harm(scene, answers)
        if verbose and not _right(scene, answers):
            print(f"{scene.kind} {scene.name}: {[(a.action, a.target, a.why) for a in answers]}")  # noqa: T201 what was asked for
    expected = {scene.kind: _named(scene.expect) for scene, _ in found}
    for kind, got in confusion.items():
        told = ", ".join(f"{name} {count}" for name, count in got.most_common())
        print(f"{kind:<28} should be {expected[kind]:<26} was {told}")  # noqa: T201 the result
    correct, total = sum(right.values()), len(found)
    print(f"seed {seed}: {correct} of {total} correct ({correct / total:.1%}), {harmful} harmful")  # noqa: T201 the result
    figures = {
        "seed": seed,
        "incidents": total,
        "kinds": len(KINDS),
        "correct": correct,
        "harmful": harmful,
        "confusion": {
            kind: {"expected": expected[kind], "right": right[kind], "got": dict(got)}
            for kind, got in confusion.items()
        },
    }
    (_ROOT / "build").mkdir(exist_ok=True)
    (_ROOT / "build" / "decisions.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if correct >= _GOAL * total and not harmful else 1


if __name__ == "__main__":
    main()
