"""A desired capacity that is a difference or a percentage, in groups of several sizes."""

import pytest

from actions.aws.target_errors import NotActionableError
from actions.base import Call
from actions.catalog.registry import CATALOG
from tests.actions.catalog.catalog_fixtures import GROUP, World


def _bound(action: str, desired: str, has: int, weight: int | None = None) -> object:
    world = World()
    group = world.group
    group.minimum, group.maximum, group.desired = 0, 100, has
    for member in group.members.values():
        member.weight = weight
    call = Call(
        aws=world.aws,
        messenger=world.messenger,
        target=GROUP,
        params={"desired": desired},
        token="t/0",
    )
    return CATALOG[action].bind(call)["desired"]


@pytest.mark.parametrize(
    ("action", "desired", "has", "becomes"),
    [
        ("set_desired_capacity", "+50%", 1, 2),
        ("set_desired_capacity", "+1%", 6, 7),
        ("set_desired_capacity", "+25%", 6, 8),
        ("set_desired_capacity", "+50%", 6, 9),
        ("scale_in", "-25%", 3, 2),
        ("scale_in", "-1%", 6, 5),
        ("scale_in", "-25%", 6, 4),
        ("scale_in", "-50%", 6, 3),
    ],
)
def test_a_percentage_is_rounded_away_from_zero(
    action: str, desired: str, has: int, becomes: int
) -> None:
    """A quarter of three is one: a step that changes nothing is no success."""
    assert _bound(action, desired, has) == becomes


@pytest.mark.parametrize(
    ("action", "desired", "becomes"), [("set_desired_capacity", "+5%", 28), ("scale_in", "-5%", 20)]
)
def test_a_percentage_of_a_weighted_group_is_an_instance_at_least(
    action: str, desired: str, becomes: int
) -> None:
    """Two of 24 units are half an instance, of which AWS launches or terminates none."""
    assert _bound(action, desired, 24, weight=4) == becomes


@pytest.mark.parametrize(
    ("action", "desired"), [("set_desired_capacity", "+50%"), ("scale_in", "-50%")]
)
def test_a_share_of_nothing_is_refused(action: str, desired: str) -> None:
    """Not called done: what was wanted did not happen."""
    with pytest.raises(NotActionableError, match="no instances"):
        _bound(action, desired, 0)


def test_a_difference_of_an_empty_group_counts() -> None:
    assert _bound("set_desired_capacity", "+1", 0) == 1
