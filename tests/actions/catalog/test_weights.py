"""Capacity in units: a group whose instances have weights, of four units each."""

from dataclasses import replace

import pytest

from actions.aws.target_errors import NotActionableError
from actions.base import Call, Progress
from actions.catalog.registry import CATALOG
from actions.execution.disruption_budget import read_scopes
from actions.execution.records import Bounds
from actions.execution.rules import require_disruption_budget
from actions.reasons import Reason
from tests.actions.catalog.catalog_fixtures import GROUP, World


@pytest.fixture
def world() -> World:
    """Six instances, 24 units, and a minimum of 16."""
    world = World()
    group = world.group
    group.weight, group.desired, group.minimum, group.maximum = 4, 24, 16, 48
    for member in group.members.values():
        member.weight = 4
    return world


def _call(world: World, target: str, **params: object) -> Call:
    return Call(aws=world.aws, messenger=world.messenger, target=target, params=params, token="t/0")


def _begun(action: str, call: Call) -> Call:
    """The step as it was sent."""
    call = replace(call, params=CATALOG[action].bind(call))
    call = replace(call, before=CATALOG[action].observe(call).before)
    return replace(call, made=CATALOG[action].act(call))


def test_a_replacement_is_over_when_the_group_has_its_units(world: World) -> None:
    """Six instances are not 24, and never will be."""
    call = _begun("replace_instance", _call(world, world.in_service()[0]))
    progress = CATALOG["replace_instance"].progress
    assert progress(call) is Progress.UNDERWAY
    world.eventually(lambda: progress(call) is Progress.DONE)
    assert len(world.in_service()) == 6


def test_scaling_in_is_over_when_the_surplus_is_gone(world: World) -> None:
    """AWS keeps an instance whose loss would leave less than the desired capacity."""
    call = _begun("scale_in", _call(world, GROUP, desired=18))
    progress = CATALOG["scale_in"].progress
    assert progress(call) is Progress.UNDERWAY
    world.eventually(lambda: progress(call) is Progress.DONE)
    assert len(world.in_service()) == 5


def test_healthy_instances_are_kept_with_their_units(world: World) -> None:
    """Five instances are 20 units."""
    call = replace(_call(world, GROUP, desired=4), min_healthy=5)
    assert CATALOG["scale_in"].bind(call) == {"desired": 20}


@pytest.mark.parametrize("action", ["enter_standby", "detach_instance"])
@pytest.mark.parametrize(("minimum", "room"), [(20, True), (21, False)])
def test_a_member_leaves_with_its_units(
    world: World, action: str, minimum: int, *, room: bool
) -> None:
    """Refused in words where AWS would refuse it."""
    world.group.minimum = minimum
    call = _call(world, world.in_service()[0])
    if room:
        _begun(action, call)
        assert world.group.desired == 20
    else:
        with pytest.raises(NotActionableError, match="would have 20 units: its minimum is 21"):
            _begun(action, call)


def test_a_member_comes_back_with_its_units(world: World) -> None:
    target = world.in_service()[0]
    _begun("enter_standby", _call(world, target))
    world.clock.now += 60
    world.group.maximum = 23
    with pytest.raises(NotActionableError, match="would have 24 units: its maximum is 23"):
        _begun("exit_standby", _call(world, target))
    world.group.maximum = 24
    _begun("exit_standby", _call(world, target))
    assert world.group.desired == 24


@pytest.mark.parametrize(
    ("minimum", "bounds", "reason"),
    [
        (20, Bounds(), None),
        (21, Bounds(), Reason.MIN_HEALTHY),
        # `min_healthy` of a playbook are instances.
        (0, Bounds(min_healthy=5), None),
        (0, Bounds(min_healthy=6), Reason.MIN_HEALTHY),
    ],
)
def test_the_minimum_of_the_group_is_in_units(
    world: World, minimum: int, bounds: Bounds, reason: Reason | None
) -> None:
    """Five of six instances serve 20 units."""
    world.group.minimum = minimum
    target = world.in_service()[0]
    scopes = read_scopes(world.aws, target, GROUP, bounds, 5.0)
    refusal = require_disruption_budget(scopes, {}, target)
    assert (refusal.reason if refusal else None) is reason
