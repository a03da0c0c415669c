"""Rules over the past fire as Prometheus would have fired them."""

from pathlib import Path

import pytest

from backtest.rule_replay import Rule, RuleFileError, fired, load_rules

_TIMES = [float(number * 60) for number in range(12)]


def _rule(for_s: float = 0, keep_firing_for_s: float = 0) -> Rule:
    return Rule(name="X", expr="x", for_s=for_s, keep_firing_for_s=keep_firing_for_s, interval_s=60)


def test_an_alert_fires_after_for_and_ends_with_its_value() -> None:
    present = {60.0, 120.0, 180.0, 240.0}
    assert list(fired(_rule(for_s=120), present, _TIMES)) == [(180.0, 300.0)]


def test_a_gap_while_it_is_pending_begins_anew() -> None:
    present = {60.0, 180.0, 240.0, 300.0}
    assert list(fired(_rule(for_s=120), present, _TIMES)) == [(300.0, 360.0)]


def test_an_alert_keeps_firing_over_a_gap() -> None:
    """The gap of two minutes is shorter than `keep_firing_for`, the next one is not."""
    present = {60.0, 180.0, 240.0}
    assert list(fired(_rule(keep_firing_for_s=120), present, _TIMES)) == [(60.0, 420.0)]


def test_an_alert_that_goes_on_has_no_end() -> None:
    assert list(fired(_rule(), {600.0, 660.0}, _TIMES)) == [(600.0, None)]


def test_a_rule_file_is_read_with_its_durations(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(
        "groups: [{name: g, interval: 30s, rules: [{record: a, expr: b}, {alert: X, expr: x > 1, "
        "for: 2m, keep_firing_for: 5m, labels: {severity: warning}}]}]"
    )
    (rule,) = load_rules(file)
    assert (rule.for_s, rule.keep_firing_for_s, rule.interval_s) == (120, 300, 30)
    assert rule.labels == {"severity": "warning"}


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text("groups: 1")
    with pytest.raises(RuleFileError, match=r"rules\.yml"):
        load_rules(file)
