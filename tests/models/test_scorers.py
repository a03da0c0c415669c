"""How a signature and the distance from the host's own past become one score."""

import numpy as np

from models.inference.scorers import Scores


def _combined(**columns: tuple[float, ...]) -> np.ndarray:
    usual = {"fault": 0.02, "alike": 0.05, "distance": -1.0}
    length = max(len(values) for values in columns.values())
    return Scores(
        **{name: np.array(columns.get(name, (value,) * length)) for name, value in usual.items()}
    ).combined


def test_either_a_signature_or_a_distance_ranks_an_alert_high() -> None:
    """A look-alike as far from its past stays below, and so does an everyday alert."""
    fault, far, alike, everyday = _combined(
        fault=(0.9, 0.02, 0.02, 0.02),
        distance=(0.2, 0.9, 0.9, -1.5),
        alike=(0.5, 0.05, 0.98, 0.05),
    )
    assert min(fault, far) > max(alike, everyday)
    assert alike > everyday


def test_a_distance_ranks_alerts_that_no_signature_fits() -> None:
    """The farther from its past the higher."""
    combined = _combined(distance=tuple(np.log((0.1, 0.2, 0.6, 2.0, 9.0))))
    assert (np.diff(combined) > 0).all()
    assert combined[-1] - combined[0] > 1


def test_a_fault_is_ranked_by_its_signature_where_the_host_is_near_its_past() -> None:
    """A leak within the usual range is not lost among everyday alerts."""
    combined = _combined(fault=(0.01, 0.3, 0.97), distance=(-1.5,) * 3)
    assert (np.diff(combined) > 0).all()
