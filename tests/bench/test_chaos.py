"""A short chaos, as `make chaos` does it for an hour; and what its verdict would see."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.chaos.report import Caps, together, too_many, too_soon
from bench.chaos.rounds import chaos

_FLEET = [{"instance_id": name, "asg": "web"} for name in ("i-1", "i-2")]
_CAPS = Caps(target=2, group=3, playbook=4, cooldown_s=20)


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    """Two receivers, killed at random with their database while AWS fails."""
    found = chaos(tmp_path, rounds=1, incidents=120, seed=5)
    assert (found.lost, found.unexplained, found.doubled, found.caps_exceeded) == (0, 0, 0, 0)
    assert (found.audit_mismatches, found.planted_found, found.audit_holds) == (0, True, True)
    assert found.acted > 0
    assert found.alerts_acked == 120
    assert found.deliveries > 0
    assert found.availability is not None
    assert found.availability >= 0.99
    assert found.taken == 1.0


def _call(target: str, at: float) -> dict[str, Any]:
    return {"parameters": {"InstanceId.1": target}, "time": at}


def _story(target: str, begin: float, end: float) -> dict[str, Any]:
    began, ended = (datetime.fromtimestamp(at, UTC).isoformat() for at in (begin, end))
    step = {"outcome": "changed", "started_at": began}
    return {"target": target, "group": "web", "steps": [step], "ended_at": ended}


def test_one_act_too_many_in_an_hour_is_seen() -> None:
    """On a target and in a group, each by itself; what is older than an hour does not count."""
    calls = [_call("i-1", 0), _call("i-1", 100), _call("i-2", 200)]
    assert too_many(calls, _FLEET, _CAPS) == 0
    assert too_many([*calls, _call("i-1", 3599)], _FLEET, _CAPS) == 2
    assert too_many([*calls, _call("i-1", 3601)], _FLEET, _CAPS) == 0


def test_an_act_within_the_cooldown_is_seen() -> None:
    """Of the same target; another one has its own."""
    assert too_soon([_story("i-1", 0, 1), _story("i-2", 5, 6), _story("i-1", 20, 21)], 20) == 0
    assert too_soon([_story("i-1", 0, 1), _story("i-1", 12, 13)], 20) == 1


def test_two_of_a_group_at_once_are_seen() -> None:
    """One of them may be out."""
    assert together([_story("i-1", 0, 10), _story("i-2", 10, 20)]) == 0
    assert together([_story("i-1", 0, 10), _story("i-2", 9, 20)]) == 1
