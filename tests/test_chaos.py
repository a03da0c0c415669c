"""A short chaos: what `make chaos` does for an hour, in a minute."""

from pathlib import Path

import pytest

from bench.chaos import chaos


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    """Two receivers, killed at random with their database while AWS fails."""
    found = chaos(tmp_path, rounds=1, incidents=120, seed=5)
    assert (found.lost, found.unexplained, found.doubled, found.caps_exceeded) == (0, 0, 0, 0)
    assert (found.audit_mismatches, found.audit_holds) == (0, True)
    assert found.acted > 0
    assert found.alerts_acked == 120
