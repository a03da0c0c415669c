"""Labels of the console."""

from typing import Any

import pytest

from receiver.console import labels
from receiver.runs.model import State

_AT = "2027-01-15T08:00:00.000Z"
_NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "now"), (42, "42 s ago"), (200, "3 min ago"), (7_200, "2 h ago"), (-90, "in 2 min")],
)
def test_a_time_is_shown_with_its_age(seconds: float, expected: str) -> None:
    """The age is negative for a time in the future."""
    assert labels.ago(_AT, _NOW + seconds) == expected
    assert labels.utc(_AT) == "2027-01-15 08:00:00"


def test_every_state_has_a_label() -> None:
    """With a tone."""
    assert {labels.state_label(state).tone for state in State} == {
        "busy",
        "wait",
        "good",
        "bad",
        "quiet",
    }


@pytest.mark.parametrize(
    ("detail", "expected"),
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
def test_a_record_is_summarized(detail: dict[str, Any], expected: str) -> None:
    """A comment comes before the outcome."""
    assert labels.record_summary(detail) == expected


def test_drift_has_two_limits() -> None:
    """0.1 and 0.25, as the literature on the index has them."""
    assert [labels.drift_label(index).tone for index in (0.05, 0.2, 0.3)] == ["good", "wait", "bad"]


def test_a_value_is_readable() -> None:
    """Times as times, text without quotes."""
    assert labels.value_text("launched_at", _NOW) == "2027-01-15 08:00:00 UTC"
    assert labels.value_text("desired", 7) == "7"
    assert labels.value_text("service", "app") == "app"
