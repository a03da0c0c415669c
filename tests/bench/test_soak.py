"""A short soak: `make soak` in seconds; and the faults that the long one reports."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.load.soak import soak
from bench.load.steady_load import Acknowledgement, Sample, SoakCounts, SoakReport, evaluate

_SECONDS = 1_800


def test_nothing_is_lost_under_a_steady_load(tmp_path: Path) -> None:
    """And every figure is measured."""
    report = soak(tmp_path, minutes=0.1)
    assert (report.failed, report.lost, report.audit_holds) == (0, 0, True)
    assert report.accepted > 0
    assert report.rss_mb > 0
    assert report.handles > 0
    assert report.database_mb > 0
    # In so short a time no record is old enough to be deleted.
    assert report.database_growth is None


def _soak(step_at: float = _SECONDS + 1, **per_minute: float) -> SoakReport:
    """Half an hour in which values grow a minute; four more handles from `step_at` on."""
    at_rest = {"rss_mb": 200.0, "handles": 50, "threads": 30, "database_mb": 20.0}
    samples = [
        Sample(
            at=float(at),
            **{
                name: value + per_minute.get(name, 0.0) * at / 60 for name, value in at_rest.items()
            },  # type: ignore[arg-type] # numbers
        )
        for at in range(0, _SECONDS + 1, 15)
    ]
    samples = [
        replace(sample, handles=sample.handles + 4 * (sample.at >= step_at)) for sample in samples
    ]
    slower = per_minute.get("took_s", 0.0)
    answers = [Acknowledgement(float(at), 0.01 + slower * at / 60) for at in range(_SECONDS)]
    counts = SoakCounts(accepted=100, failed=0, ended=100, acted=3, removed=50, audit_holds=True)
    return evaluate(samples, answers, counts, kept_s=600.0)


def test_what_is_steady_is_sound() -> None:
    """No value grows, and half an hour is enough to measure the records, too."""
    report = _soak()
    assert report.sound
    assert report.database_growth == pytest.approx(0.0)


@pytest.mark.parametrize(
    "growing", [{"rss_mb": 1.0}, {"handles": 0.2}, {"threads": 0.1}, {"database_mb": 0.2}]
)
def test_what_grows_is_not_sound(growing: dict[str, float]) -> None:
    """A leak of a megabyte a minute, of a handle in five, of records."""
    assert not _soak(**growing).sound


def test_a_step_that_is_taken_once_is_no_leak() -> None:
    """A pool opens one more connection at some time; a leak would go on."""
    assert _soak(step_at=900).sound
    assert not _soak(step_at=900, handles=0.2).sound


def test_what_becomes_slower_or_is_lost_is_not_sound() -> None:
    """Answers that take ever longer, a run that is missing, a delivery that failed."""
    assert not _soak(took_s=0.02).sound
    assert not replace(_soak(), lost=1).sound
    assert not replace(_soak(), failed=1).sound
    assert not replace(_soak(), audit_holds=False).sound
