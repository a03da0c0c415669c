"""A short form of `make replacements`, and what its verdict would see."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.chaos.killed_receiver import replace_and_kill
from bench.chaos.replaced_fleet import SIZE, Replaced, ReplaceMode
from bench.chaos.replacements import replace_once

_SOUND = Replaced(
    mode=ReplaceMode.LAUNCH_FIRST,
    cut_off=True,
    fewest=SIZE,
    gone=True,
    others_terminated=0,
    terminations=1,
    added=0,
)


@pytest.mark.parametrize("seed", range(12))
def test_cut_off_anywhere_nobody_is_missed(tmp_path: Path, seed: int) -> None:
    """On an AWS of any hardness, by either mode."""
    assert replace_once(tmp_path, seed).faults == []


@pytest.mark.timeout(180)
def test_a_receiver_that_is_killed_replaces_its_target(tmp_path: Path) -> None:
    (replaced,) = replace_and_kill(tmp_path, 1, seed=1)
    assert (replaced.mode, replaced.faults) == (ReplaceMode.LAUNCH_FIRST, [])
    assert replaced.gone


def test_every_fault_is_seen() -> None:
    assert _SOUND.faults == []
    assert replace(_SOUND, fewest=SIZE - 1).faults == ["fewer healthy"]
    assert replace(_SOUND, terminations=2).faults == ["terminated twice"]
    assert replace(_SOUND, others_terminated=1).faults == ["another terminated"]
    assert replace(_SOUND, added=1).faults == ["another capacity"]
    later = replace(_SOUND, mode=ReplaceMode.TERMINATE_FIRST)
    assert replace(later, fewest=SIZE - 1, terminations=2).faults == []
    assert replace(later, fewest=SIZE - 2).faults == ["fewer healthy"]
