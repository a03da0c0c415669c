"""The share of right decisions: `make bench-decisions SEED=n`.

The service's code runs labelled incidents of many kinds from the decision to the end, in virtual
time, with its own records, verdict and guards, a real Prometheus, and an AWS that is harsh by the
seed. It prints each kind, writes build/decisions.json, and fails below 98 % right runs or with any
harmful act.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import click

from actions.base import Impact
from actions.catalog.registry import CATALOG
from bench.scenes.backfill import make_setting
from bench.scenes.performance import perform
from bench.scenes.performed import Performed
from bench.scenes.scenarios import build_scenes
from bench.scenes.scene import Act, Scene
from demo.aws.hardness import harsh
from receiver.runs.model import State

_ROOT = Path(__file__).parents[2]
# Incidents that one Prometheus holds.
_BATCH = 24
_GOAL = 0.98
_ENDS_MEMBERS = frozenset({"rollback_instance_refresh", "scale_in", "start_instance_refresh"})
_ENDS_HOST = frozenset({"replace_instance", "emergency_shutdown"})


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`excused`: right, because AWS did not do what it was told and a person was called."""

    right: bool
    harmful: bool
    excused: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--incidents", type=int, default=400)
    parser.add_argument("--kind", default="", help="only kinds whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="print each wrong run")
    options = parser.parse_args()
    # Full hours in the past: Prometheus accepts no samples of the future.
    now = time.time() // 3_600 * 3_600 - 3_600
    setting = make_setting(now, options.seed)
    scenes = build_scenes(setting, options.incidents, options.kind)
    batches = [scenes[start : start + _BATCH] for start in range(0, len(scenes), _BATCH)]
    seeds = [options.seed * 1_000 + number for number in range(len(batches))]
    for batch, seed in zip(batches, seeds, strict=True):
        _fail_documents(batch, seed)
    performed: list[tuple[Scene, Performed]] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        played = pool.map(perform, batches, repeat(setting), seeds)
        for batch, results in zip(batches, played, strict=True):
            performed += zip(batch, results, strict=True)
            click.echo(f"{len(performed)} of {len(scenes)} incidents", err=True)
    sys.exit(_report(performed, options.seed, verbose=options.verbose))


def _fail_documents(scenes: Sequence[Scene], seed: int) -> None:
    """In as many of the scenes as the seed's hardness says, but here, so that each says so."""
    share, chance = harsh(seed).failing, random.Random(seed)
    for scene in scenes:
        if chance.random() < share:
            scene.fail_documents()


def judge_result(scene: Scene, result: Performed) -> Judged:
    """Whether exactly the expected acts were taken, and whether one did harm."""
    expected, acts = [Act(*act) for act in scene.expect], list(result.acts)
    asked = frozenset({expected.pop()} if scene.approval else ())
    ended = {act.target for act in expected if act.action in _ENDS_HOST}
    chosen_by_group = any(act.action in _ENDS_MEMBERS for act in expected)
    harmful = (bool(result.lost - ended) and not chosen_by_group) or (
        any(
            act not in expected
            and CATALOG[act.action].impact in {Impact.DISRUPTIVE, Impact.DESTRUCTIVE}
            for act in acts
        )
    )
    if result.owed:
        return Judged(right=False, harmful=harmful)
    if scene.approval:
        right = acts == expected and result.asked == asked
        return Judged(right=right, harmful=harmful)
    recovered = State.SUCCEEDED in result.states
    if acts == expected and (not expected or recovered is not scene.person):
        return Judged(right=not result.asked, harmful=harmful)
    # AWS did not do the last of them, so a person was called.
    called = result.uncooperative and result.person and not result.asked
    excused = called and acts == expected[: len(acts)]
    return Judged(right=excused, harmful=harmful, excused=excused)


def _label(actions: Iterable[str]) -> str:
    return " + ".join(actions) or "nothing"


def _report(performed: Sequence[tuple[Scene, Performed]], seed: int, *, verbose: bool) -> int:
    kinds: dict[str, dict[str, Any]] = {}
    for scene, result in performed:
        judged = judge_result(scene, result)
        kind = kinds.setdefault(
            scene.kind,
            {
                "expected": _label(action for action, _ in scene.expect),
                "incidents": 0,
                "right": 0,
                "harmful": 0,
                "excused": 0,
                "acted": Counter[str](),
            },
        )
        kind["incidents"] += 1
        kind["right"] += judged.right
        kind["harmful"] += judged.harmful
        kind["excused"] += judged.excused
        kind["acted"][_label(act.action for act in (*result.acts, *result.asked))] += 1
        if verbose and (judged.harmful or not judged.right):
            click.echo(f"{scene.kind} {scene.name}, {scene.shop}: {judged} {result}")
    for name, kind in kinds.items():
        acted = ", ".join(f"{action} {count}" for action, count in kind["acted"].most_common())
        click.echo(
            f"{name:<28} {kind['right']} of {kind['incidents']}, harmful {kind['harmful']}, "
            f"expected {kind['expected']}, acted {acted}"
        )
    total = len(performed)
    correct, harmful, excused = (
        sum(kind[name] for kind in kinds.values()) for name in ("right", "harmful", "excused")
    )
    share = f"{correct / total:.1%}"
    click.echo(f"seed {seed}: {correct} of {total} right ({share}), {harmful} harmful")
    figures = {
        "seed": seed,
        "incidents": total,
        "kinds": len(kinds),
        "correct": correct,
        "harmful": harmful,
        "excused": excused,
        "by_kind": kinds,
    }
    (_ROOT / "build").mkdir(exist_ok=True)
    (_ROOT / "build" / "decisions.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if correct >= _GOAL * total and not harmful else 1


if __name__ == "__main__":
    main()
