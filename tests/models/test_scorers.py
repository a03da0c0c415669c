"""How the scorers' scores become one score and one confidence."""

import numpy as np
import pytest

from models.inference.scorers import EnsembleWeights, Scores
from models.training.cross_fit import WEIGHTS


def _scores(**columns: tuple[float, ...]) -> Scores:
    usual = {"fault": 0.02, "distant": 0.2, "genuine": 0.5, "injected": 0.02, "alike": 0.05}
    usual["distance"] = 0.3
    length = max(len(values) for values in columns.values())
    return Scores(
        **{name: np.array(columns.get(name, (value,) * length)) for name, value in usual.items()}
    )


def test_either_a_signature_or_a_distance_that_counts_ranks_an_alert_high() -> None:
    """A look-alike as far from its past stays below, and so does an everyday alert."""
    fault, far, alike, everyday = _scores(
        fault=(0.9, 0.02, 0.02, 0.02),
        distant=(0.2, 0.9, 0.9, 0.1),
        genuine=(0.1, 0.8, 0.05, 0.1),
        injected=(0.95, 0.05, 0.95, 0.02),
        alike=(0.5, 0.05, 0.95, 0.05),
    ).combine(WEIGHTS)
    assert min(fault, far) > max(alike, everyday)


def test_a_distance_ranks_alerts_that_no_scorer_knows() -> None:
    """The farther from its past the higher, and less so if it is like a harmless event."""
    far = (0.0, 0.1, 0.5, 2.0, 9.0)
    combined = _scores(distance=far, genuine=(0.001,) * len(far)).combine(WEIGHTS)
    assert (np.diff(combined) > 0).all()
    assert combined[-1] - combined[0] > 1
    unknown, harmless = _scores(distance=(2.0, 2.0), alike=(0.05, 0.98)).combine(WEIGHTS)
    assert unknown > harmless


def test_a_signature_counts_for_less_on_an_everyday_alert() -> None:
    """The same signature ranks lower where the alert is like none that was injected."""
    injected, everyday = _scores(
        fault=(0.6, 0.6), injected=(0.9, 0.001), genuine=(0.1, 0.1)
    ).combine(WEIGHTS)
    assert injected > everyday


def test_confidence_is_that_of_alerts_of_the_same_origin() -> None:
    """One reading stands for two shares of incidents, weighed by how like either the alert is."""
    curves = np.array([[-1.0, 1.0], [0.9, 0.9], [0.1, 0.1]])
    confidence = _scores(injected=(1.0, 0.0, 0.5)).confidence(np.zeros(3), curves)
    assert confidence.tolist() == pytest.approx([0.9, 0.1, 0.5])


def test_weights_of_another_number_are_refused() -> None:
    """A model of another form does not load."""
    assert EnsembleWeights.from_array(WEIGHTS.array()) == WEIGHTS
    with pytest.raises(ValueError, match="ensemble weights are needed"):
        EnsembleWeights.from_array(WEIGHTS.array()[:-1])
