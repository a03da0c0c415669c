"""Forecasts of what runs out, on fills, and on what only looks like one."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.inference.exhaustion import forecast

_TIMES = 1.8e9 + 60.0 * np.arange(120)
_RNG = np.random.default_rng(7)


def _noise(size: float) -> NDArray[np.float64]:
    return _RNG.normal(scale=size, size=len(_TIMES))


def test_the_interval_holds_the_moment_at_which_a_disk_is_full() -> None:
    """In nine of ten fills, though a tenth of the samples are wild."""
    held = []
    for hours in np.linspace(0.5, 3, 40):
        used = 0.6 + (_TIMES - _TIMES[-1]) * 0.4 / (hours * 3600) + _noise(0.002)
        used[::10] -= 0.3
        found = forecast(_TIMES, used)
        assert found is not None
        assert found.earliest <= found.seconds <= found.latest
        held.append(found.earliest <= hours * 3600 <= found.latest)
    assert np.mean(held) >= 0.85


def test_a_fill_of_half_a_minute_is_seen() -> None:
    """By five samples, five seconds apart, after a calm past."""
    times = 1.8e9 + 5.0 * np.arange(40)
    used = np.where(np.arange(40) < 36, 0.5, 0.5 + 0.04 * (np.arange(40) - 35))
    found = forecast(times, used)
    assert found is not None
    assert found.latest < 200


@pytest.mark.parametrize(
    "used",
    [
        lambda: 0.9 + _noise(0.01),
        lambda: 0.5 + 0.1 * (np.arange(120) % 50) / 50,
        lambda: 0.5 + 0.004 * np.minimum(np.arange(120), 92),
        lambda: 0.5 + 1e-5 * np.arange(120),
        lambda: np.where(np.arange(120) < 118, 0.3, 0.6),
    ],
    ids=["noise", "a saw", "a fill that has stopped", "a crawl", "two points"],
)
def test_what_does_not_run_out_has_no_forecast(used: Callable[[], NDArray[np.float64]]) -> None:
    """However full it is."""
    assert forecast(_TIMES, used()) is None


def test_what_was_used_before_and_given_back_is_no_fill() -> None:
    """A batch job's files grow every day, up to where they grew before."""
    used = 0.5 + 0.002 * np.arange(120)
    assert forecast(_TIMES, used) is not None
    assert forecast(_TIMES, used, highest=0.8) is None
