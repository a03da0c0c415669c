"""How the parts' readings become one score and one confidence."""

import numpy as np
import pytest

from models.inference.scorers import Mix, Readings
from models.training.cross_fit import MIX


def _readings(**parts: tuple[float, ...]) -> Readings:
    usual = {"fault": 0.02, "distant": 0.2, "genuine": 0.5, "injected": 0.02, "alike": 0.05}
    length = max(len(values) for values in parts.values())
    return Readings(
        **{name: np.array(parts.get(name, (value,) * length)) for name, value in usual.items()}
    )


def test_either_a_signature_or_a_distance_that_counts_ranks_an_alert_high() -> None:
    """A look-alike as far from its past stays below, and so does an everyday alert."""
    fault, far, alike, everyday = _readings(
        fault=(0.9, 0.02, 0.02, 0.02),
        distant=(0.2, 0.9, 0.9, 0.1),
        genuine=(0.1, 0.8, 0.05, 0.1),
        injected=(0.95, 0.05, 0.95, 0.02),
        alike=(0.5, 0.05, 0.95, 0.05),
    ).combined(MIX)
    assert min(fault, far) > max(alike, everyday)


def test_a_signature_counts_for_less_on_an_everyday_alert() -> None:
    """The same signature ranks lower where the alert is like none that was injected."""
    known, everyday = _readings(
        fault=(0.6, 0.6), injected=(0.9, 0.001), genuine=(0.1, 0.1)
    ).combined(MIX)
    assert known > everyday


def test_confidence_is_that_of_alerts_of_the_same_origin() -> None:
    """One reading stands for two shares of incidents, weighed by how like either the alert is."""
    curves = np.array([[-1.0, 1.0], [0.9, 0.9], [0.1, 0.1]])
    found = _readings(injected=(1.0, 0.0, 0.5)).confidence(np.zeros(3), curves)
    assert found.tolist() == pytest.approx([0.9, 0.1, 0.5])


def test_a_mix_of_another_length_is_refused() -> None:
    """A model of another form does not load."""
    assert Mix.of(MIX.array()) == MIX
    with pytest.raises(ValueError, match="put together"):
        Mix.of(MIX.array()[:-1])
