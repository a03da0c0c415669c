"""The re-check on missing, late, odd and hostile data: unknown is never an answer to act on."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from models.features.evidence import Evidence, Series
from models.inference.verdict import Answer
from tests.models.fleet_fixtures import AT, CPU, RUNAWAY, evidence, judge


def cut(part: Mapping[str, Series] | None, before: float) -> dict[str, Series]:
    """The part without what is at or after a moment."""
    kept = {}
    for role, series in (part or {}).items():
        n = sum(time < before for time in series.times)
        kept[role] = Series(series.times[:n], series.values[:n])
    return kept


def reason(metrics: Evidence) -> str:
    verdict = judge(metrics, CPU)
    assert verdict.answer is Answer.UNDECIDED
    return verdict.contributions[0].text


def test_down_exporter_is_undecided_and_says_so() -> None:
    """A target that stopped answering ten seconds ago is unknown, not healthy."""
    metrics = evidence()
    assert "does not answer" in reason(replace(metrics, recent=cut(metrics.recent, AT - 10)))


def test_empty_answer_is_undecided() -> None:
    """Prometheus knows no such target."""
    assert "only 0 h" in reason(Evidence(target="i-0", at=AT, history={}, recent={}, peers={}))


@pytest.mark.parametrize(("part", "word"), [("history", "past"), ("recent", "current")])
def test_unanswered_question_is_undecided_with_the_cause(part: str, word: str) -> None:
    """What Prometheus said reaches the person who reads the verdict."""
    metrics = replace(evidence(now=RUNAWAY), problems=(f"{part}: answered 503",))
    metrics = replace(metrics, history=None) if part == "history" else replace(metrics, recent=None)
    assert word in reason(metrics)
    assert "answered 503" in reason(metrics)


def test_short_history_is_undecided() -> None:
    """Half a day of past tells nothing of what is usual."""
    assert "12 h" in reason(evidence(now=RUNAWAY, past_days=0.5))


def test_history_full_of_gaps_is_undecided() -> None:
    """Seven days of which less than one was recorded are less than one day."""
    metrics = evidence(now=RUNAWAY)
    thinned = {r: Series(s.times[::10], s.values[::10]) for r, s in (metrics.history or {}).items()}
    assert "a usual level needs 24 h" in reason(replace(metrics, history=thinned))


def test_missing_role_of_the_alert_is_undecided() -> None:
    """An alert about a role that is not measured cannot be judged by others."""
    verdict = judge(evidence(now=RUNAWAY), ("filesystem_used",))
    assert verdict.answer is Answer.UNDECIDED


def test_gaps_and_not_a_number_do_not_change_the_answer() -> None:
    """Samples missing here and there, NaN and infinity in between: still the same verdict."""
    metrics = evidence(now=RUNAWAY)
    rng = np.random.default_rng(3)

    def torn(series: Series) -> Series:
        values = np.asarray(series.values, dtype=float)
        values[rng.random(len(values)) < 0.1] = np.nan
        values[:3] = [np.inf, -np.inf, np.nan]
        values[-3:] = np.asarray(series.values)[-3:]
        kept = rng.random(len(values)) < 0.8
        kept[-3:] = True
        return Series(np.asarray(series.times)[kept].tolist(), values[kept].tolist())

    torn_up = replace(
        metrics,
        history={role: torn(series) for role, series in (metrics.history or {}).items()},
        recent={role: torn(series) for role, series in (metrics.recent or {}).items()},
    )
    assert judge(torn_up, CPU).answer is Answer.CONFIRMED


def test_nothing_after_the_alert_takes_part() -> None:
    """Noise after the alert's time leaves the verdict as it was, to the last digit."""
    metrics = evidence(now=RUNAWAY)
    rng = np.random.default_rng(4)

    def longer(part: Mapping[str, Series]) -> dict[str, Series]:
        later = [AT + 1 + 5 * k for k in range(40)]
        noise = rng.normal(0, 1e9, 40).tolist()
        return {r: Series([*s.times, *later], [*s.values, *noise]) for r, s in part.items()}

    noisy = replace(
        metrics,
        history=longer(metrics.history or {}),
        recent=longer(metrics.recent or {}),
        peers={name: longer(part) for name, part in (metrics.peers or {}).items()},
    )
    assert judge(noisy, CPU) == judge(metrics, CPU)


def test_unordered_samples_read_the_same() -> None:
    """The order in which samples were handed over does not matter."""
    metrics = evidence(now=RUNAWAY)
    turned = {r: Series(s.times[::-1], s.values[::-1]) for r, s in (metrics.recent or {}).items()}
    assert judge(replace(metrics, recent=turned), CPU) == judge(metrics, CPU)


def test_clock_ahead_of_prometheus_is_undecided() -> None:
    """Our clock two minutes fast: the newest sample is old, so the present is unknown."""
    metrics = evidence(now=RUNAWAY)
    assert "does not answer" in reason(replace(metrics, at=AT + 120))


def test_samples_from_the_dawn_of_time_are_ignored() -> None:
    """A series that claims to reach back before all time costs no memory and says nothing."""
    metrics = evidence(now=RUNAWAY)
    history = {
        r: Series([-1e15, *s.times], [9e9, *s.values]) for r, s in (metrics.history or {}).items()
    }
    assert judge(replace(metrics, history=history), CPU) == judge(metrics, CPU)


def test_unknown_roles_are_ignored() -> None:
    """A series under a name that is no role changes nothing."""
    metrics = evidence(now=RUNAWAY)
    odd = {"../etc": Series([AT], [1.0])}
    more = replace(
        metrics,
        history=dict(metrics.history or {}) | odd,
        recent=dict(metrics.recent or {}) | odd,
    )
    assert judge(more, CPU) == judge(metrics, CPU)
