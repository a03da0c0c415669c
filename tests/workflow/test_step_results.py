"""The table of a step's results: only a step that did not help leads to a heavier one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.base import StepResult
from receiver.workflow.step_results import TABLE, AwsAnswer, Health, Next, judge

_EVERY = [(aws, health) for aws in AwsAnswer for health in Health]


def test_every_pair_of_answers_has_a_result() -> None:
    assert set(TABLE) == set(_EVERY)


@pytest.mark.parametrize(("aws", "health"), _EVERY)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_only_evidence_leads_to_a_heavier_step(
    aws: AwsAnswer, health: Health, *, late: bool, held: bool
) -> None:
    """The step ran to its end, and metrics on samples after it say that the target is ill."""
    result, following = judge(aws, health, late=late, held=held)
    climbs = following is Next.NEXT_RUNG
    assert climbs is (result is StepResult.DID_NOT_HELP)
    if climbs:
        assert aws in {AwsAnswer.DONE, AwsAnswer.FAILED}
        assert health in {Health.ILL, Health.WORSE}
    if following is Next.CLOSE:
        assert (result, health, held) == (StepResult.HELPED, Health.RECOVERED, True)
    if late:
        waits = health is Health.RECOVERED and not held
        assert following is not Next.WAIT or waits


@given(st.lists(st.tuples(st.sampled_from(_EVERY), st.booleans(), st.booleans())))
def test_no_sequence_of_answers_skips_the_evidence(
    answers: list[tuple[tuple[AwsAnswer, Health], bool, bool]],
) -> None:
    """A step that never ran is repeated; it is not followed by a heavier one."""
    for (aws, health), late, held in answers:
        result, following = judge(aws, health, late=late, held=held)
        if following in {Next.WAIT, Next.RETRY}:
            continue
        assert (following is Next.NEXT_RUNG) is (
            aws in {AwsAnswer.DONE, AwsAnswer.FAILED} and health in {Health.ILL, Health.WORSE}
        )
        assert (following is Next.CLOSE) is (result is StepResult.HELPED)
        return
