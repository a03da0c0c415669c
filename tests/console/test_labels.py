"""How the console puts things."""

from typing import Any

import pytest

from receiver.console import labels
from receiver.runs.model import State

_AT = "2027-01-15T08:00:00.000Z"
_NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (42, "42 s ago"), (200, "3 min ago"), (7_200, "2 h ago"), (-90, "in 2 min")],
)
def test_a_moment_is_said_by_how_far_it_is(seconds: float, said: str) -> None:
    """Beside the moment itself."""
    assert labels.ago(_AT, _NOW + seconds) == said
    assert labels.utc(_AT) == "2027-01-15 08:00:00"


def test_every_state_has_its_words() -> None:
    """And a tone."""
    assert {labels.state(state).tone for state in State} == {
        "busy",
        "wait",
        "good",
        "bad",
        "quiet",
    }


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ({"comment": "deploying", "outcome": "x"}, "“deploying”"),
        ({"action": "reboot_instance", "target": "i-1"}, "reboot instance on i-1"),
        (
            {"action": "reboot_instance", "target": "i-1", "outcome": "failed"},
            "reboot instance on i-1: failed",
        ),
        ({"plan": {"action": "scale_in", "target": "web"}}, "scale in on web"),
        ({"refusal": "no_target", "outcome": "none named"}, "no target: none named"),
        ({"labels": {"alertname": "HighCPU"}}, "HighCPU"),
        ({}, ""),
    ],
)
def test_a_record_is_told_by_what_matters_most(detail: dict[str, Any], said: str) -> None:
    """What people said comes before what came of it."""
    assert labels.gist(detail) == said


def test_drift_has_two_limits() -> None:
    """Those of the index's own literature."""
    assert [labels.drift(one).tone for one in (0.05, 0.2, 0.3)] == ["good", "wait", "bad"]


def test_a_value_is_readable() -> None:
    """Moments as such, text without quotes."""
    assert labels.value("launched_at", _NOW) == "2027-01-15 08:00:00 UTC"
    assert labels.value("desired", 7) == "7"
    assert labels.value("service", "app") == "app"
