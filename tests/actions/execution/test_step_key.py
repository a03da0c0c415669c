"""The number of a step: what earlier releases stored is read as it was, and nothing else is."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import TypeAdapter

from actions.canonical_json import canonical
from actions.step_key import StepKey, StepKind

_STORED = {
    0: StepKey(StepKind.LADDER, 0),
    99: StepKey(StepKind.LADDER, 99),
    113: StepKey(StepKind.LADDER, 1).before(3),
    1_002: StepKey(StepKind.LADDER, 2).reversal(),
    1_113: StepKey(StepKind.LADDER, 1).before(3).reversal(),
    301_113: StepKey(StepKind.LADDER, 1).before(3).reversal(3),
    2_041: StepKey.escalation(1, attempt=4),
}


@pytest.mark.parametrize(("number", "key"), _STORED.items(), ids=map(str, _STORED))
def test_a_key_is_stored_as_the_number_of_earlier_releases(number: int, key: StepKey) -> None:
    assert (key.number, StepKey.parse(number)) == (number, key)
    assert key.token("RUN") == f"RUN/{number}"
    assert canonical({"roll_back": [key]}) == f'{{"roll_back":[{number}]}}'


@given(st.integers(0, 10_000) | st.integers(101_000, 101_999))
def test_each_number_is_one_key(number: int) -> None:
    assert TypeAdapter(StepKey).validate_python(number).number == number


@pytest.mark.parametrize(
    ("kind", "index"),
    [(kind, -1) for kind in StepKind]
    + [(StepKind.LADDER, 100), (StepKind.BEFORE, 900), (StepKind.ROLLBACK, 1_000)],
)
def test_no_key_has_the_number_of_another_kind(kind: StepKind, index: int) -> None:
    with pytest.raises(ValueError, match="no step"):
        StepKey(kind, index)


def test_only_a_rollback_is_tried_again() -> None:
    for kind in set(StepKind) - {StepKind.ROLLBACK}:
        with pytest.raises(ValueError, match="no step"):
            StepKey(kind, 0, 1)


def test_a_number_that_no_step_has_is_not_read() -> None:
    with pytest.raises(ValueError, match="no step -1"):
        StepKey.parse(-1)
