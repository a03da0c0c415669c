"""The share of right decisions: `make bench-decisions SEED=n`.

The service's code decides on labelled incidents of many kinds, with its own records, verdict and
guards, a real Prometheus, and AWS as plain data. It prints the confusion matrix, writes
build/decisions.json, and fails below 95 % right decisions or with any harmful action.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click

from actions.base import Impact
from actions.catalog.registry import CATALOG
from bench.scenes.backfill import make_setting
from bench.scenes.decider import NOTHING, DecidedAlert, decide_scenes
from bench.scenes.scenarios import KINDS, build_scenes
from bench.scenes.scene import Scene

_ROOT = Path(__file__).parents[2]
# Incidents that one Prometheus holds.
_BATCH = 24
_GOAL = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=10, help="incidents of each kind")
    parser.add_argument("--verbose", action="store_true", help="print each wrong decision")
    options = parser.parse_args()
    # A full hour in the past: Prometheus accepts no samples of the future.
    now = time.time() // 3_600 * 3_600 - 3_600
    setting = make_setting(now, options.seed)
    scenes = build_scenes(setting, options.each)
    batches = [scenes[start : start + _BATCH] for start in range(0, len(scenes), _BATCH)]
    decided: list[tuple[Scene, Sequence[DecidedAlert]]] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for batch, alerts in zip(
            batches, pool.map(partial(decide_scenes, setting=setting), batches), strict=True
        ):
            decided += zip(batch, alerts, strict=True)
            click.echo(f"{len(decided)} of {len(scenes)} incidents", err=True)
    sys.exit(_report(decided, options.seed, verbose=options.verbose))


def _right(scene: Scene, alerts: Sequence[DecidedAlert]) -> bool:
    """Whether exactly the expected actions were decided."""
    acts = [alert for alert in alerts if alert.action != NOTHING]
    approval = all(act.approval is scene.approval for act in acts)
    return {(act.action, act.target) for act in acts} == scene.expect and approval


def _harm(scene: Scene, alerts: Sequence[DecidedAlert]) -> bool:
    """Whether an unexpected disruptive action was decided without approval."""
    return any(
        alert.action != NOTHING
        and not alert.approval
        and (alert.action, alert.target) not in scene.expect
        and CATALOG[alert.action].impact in {Impact.DISRUPTIVE, Impact.DESTRUCTIVE}
        for alert in alerts
    )


def _label(actions: Iterable[str]) -> str:
    return " + ".join(sorted(set(actions) - {NOTHING})) or NOTHING


def _report(
    decided: Sequence[tuple[Scene, Sequence[DecidedAlert]]], seed: int, *, verbose: bool
) -> int:
    confusion: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    right = dict.fromkeys(KINDS, 0)
    harmful = 0
    for scene, alerts in decided:
        confusion[scene.kind][_label(alert.action for alert in alerts)] += 1
        right[scene.kind] += _right(scene, alerts)
        harmful += _harm(scene, alerts)
        if verbose and not _right(scene, alerts):
            actions = [(alert.action, alert.target, alert.reason) for alert in alerts]
            click.echo(f"{scene.kind} {scene.name}: {actions}")
    expected = {scene.kind: _label(action for action, _ in scene.expect) for scene, _ in decided}
    for kind, got in confusion.items():
        counts = ", ".join(f"{name} {count}" for name, count in got.most_common())
        click.echo(f"{kind:<28} expected {expected[kind]:<26} decided {counts}")
    correct, total = sum(right.values()), len(decided)
    share = f"{correct / total:.1%}"
    click.echo(f"seed {seed}: {correct} of {total} correct ({share}), {harmful} harmful")
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
