"""A short chaos, as `make chaos` does it for an hour; and what its verdict would see."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.chaos.counts import (
    Caps,
    count_astray,
    count_doubled,
    count_in_cooldown,
    count_over_caps,
    count_suspended,
    count_together,
)
from bench.chaos.forgeries import FORGED, ForgeryKind
from bench.chaos.rounds import chaos

_FLEET = [{"instance_id": name, "asg": "web"} for name in ("i-1", "i-2")]
_CAPS = Caps(target=2, group=3, playbook=4, cooldown_s=20)


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    """Two receivers, killed at random with their database while AWS fails."""
    report = chaos(tmp_path, rounds=1, incidents=120, seed=5)
    assert (report.lost, report.unexplained, report.doubled, report.caps_exceeded) == (0, 0, 0, 0)
    assert (report.audit_mismatches, report.planted_found, report.audit_holds) == (0, True, True)
    assert report.acted > 0
    assert (report.astray, report.owed) == (0, 0)
    assert set(report.forgeries) == set(ForgeryKind)
    assert report.forged_states["target_unproven"] > 0
    assert report.forged_states["verdict_refuted"] > 0
    assert not set(report.forged_states) & {"succeeded", "failed", "rolled_back"}
    assert report.alerts_acked == sum(report.states.values()) == 120
    assert report.deliveries > 0
    assert report.availability is not None
    assert report.availability >= 0.99
    assert report.taken == 1.0


def _call(target: str, at: float) -> dict[str, Any]:
    return {"parameters": {"InstanceIds": [target]}, "time": at}


def _run(target: str, begin: float, end: float) -> dict[str, Any]:
    began, ended = (datetime.fromtimestamp(at, UTC).isoformat() for at in (begin, end))
    step = {"target": target, "outcome": "changed", "started_at": began}
    return {"target": target, "group": "web", "steps": [step], "ended_at": ended}


def test_one_act_too_many_in_an_hour_is_seen() -> None:
    """On a target and in a group, each for itself; an act older than an hour does not count."""
    calls = [_call("i-1", 0), _call("i-1", 100), _call("i-2", 200)]
    assert count_over_caps(calls, _FLEET, _CAPS) == 0
    assert count_over_caps([*calls, _call("i-1", 3599)], _FLEET, _CAPS) == 2
    assert count_over_caps([*calls, _call("i-1", 3601)], _FLEET, _CAPS) == 0


def test_an_act_within_the_cooldown_is_seen() -> None:
    """On the same target; another target has its own cooldown."""
    assert count_in_cooldown([_run("i-1", 0, 1), _run("i-2", 5, 6), _run("i-1", 20, 21)], 20) == 0
    assert count_in_cooldown([_run("i-1", 0, 1), _run("i-1", 12, 13)], 20) == 1


def test_two_of_a_group_at_once_are_seen() -> None:
    """Only one member may be out."""
    assert count_together([_run("i-1", 0, 10), _run("i-2", 10, 20)]) == 0
    assert count_together([_run("i-1", 0, 10), _run("i-2", 9, 20)]) == 1


def test_a_group_left_suspended_is_seen() -> None:
    """By what AWS took; a refused call changed nothing."""

    def call(operation: str, group: str, status: int = 200) -> dict[str, Any]:
        parameters = {"AutoScalingGroupName": group, "ScalingProcesses": ["Launch"]}
        return {"operation": operation, "parameters": parameters, "status": status}

    calls = [call("SuspendProcesses", "web"), call("ResumeProcesses", "web")]
    assert count_suspended(calls) == 0
    assert count_suspended([*calls, call("SuspendProcesses", "web")]) == 1
    assert count_suspended([calls[0], call("ResumeProcesses", "web", 503)]) == 1
    assert count_suspended([calls[0], calls[1], call("SuspendProcesses", "api", 400)]) == 0


def test_an_act_on_another_host_or_for_a_forged_alert_is_seen() -> None:
    """A call that no run explains is one, too."""

    def run(name: str, instance: str) -> dict[str, Any]:
        return {"id": name, "alert": {"labels": {"n": name, "instance_id": instance}}}

    runs = [run("1", "i-1"), run(f"{FORGED}-1", "i-2")]
    real = {**_call("i-1", 0), "session": "1"}
    assert count_astray(runs, [real]) == 0
    for wrong in (
        {**real, "parameters": {"InstanceIds": ["i-2"]}},
        {**_call("i-2", 0), "session": f"{FORGED}-1"},
        {**real, "session": "unknown"},
    ):
        assert count_astray(runs, [real, wrong]) == 1
    assert count_doubled(runs, [real]) == 0
    assert count_doubled([*runs, runs[0]], [real, real]) == 2
