"""The isolating security group, and a containment that is repeated."""

from dataclasses import replace
from typing import Any

import pytest

from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError, PartlyDoneError
from actions.base import Action, Call, Outcome, Progress
from actions.catalog.registry import CATALOG
from demo.aws.world import AwsError, SecurityGroup
from tests.actions.catalog.catalog_fixtures import GROUP, ISOLATING, TOKEN, USUAL, World

_quarantine, _release = CATALOG["quarantine_instance"], CATALOG["release_quarantine"]
_shutdown, _end = CATALOG["emergency_shutdown"], CATALOG["end_emergency_shutdown"]
_PARAMS = {"security_group": ISOLATING}
_isolating = pytest.mark.parametrize(
    "action", [_quarantine, _shutdown], ids=lambda action: action.name
)


@pytest.fixture
def world() -> World:
    world = World()
    world.host.volumes = ["vol-1", "vol-2"]
    return world


def _refused(action: Action, world: World, **params: Any) -> str:
    with pytest.raises(NotActionableError) as refusal:
        action.observe(world.call(**params))
    return str(refusal.value)


@_isolating
def test_a_group_that_would_not_isolate_is_refused(action: Action, world: World) -> None:
    """Before anything is tagged, copied or stopped."""
    groups = world.emulator.world.security_groups
    groups[ISOLATING] = SecurityGroup(ISOLATING, ingress=[{"IpProtocol": "-1"}])
    assert "has inbound rules" in _refused(action, world, **_PARAMS)
    groups[ISOLATING] = SecurityGroup(ISOLATING, vpc="vpc-0123456789abcdef1")
    assert "is in another VPC than" in _refused(action, world, **_PARAMS)
    del groups[ISOLATING]
    assert "does not exist" in _refused(action, world, **_PARAMS)


@_isolating
def test_a_group_whose_rules_are_not_told_is_refused(action: Action, world: World) -> None:
    """An answer without rules is no answer that there are none."""

    def without_rules(_: object, answer: dict[str, Any]) -> None:
        for group in answer.get("SecurityGroups", ()):
            del group["IpPermissions"], group["IpPermissionsEgress"]

    world.emulator.on_answer = without_rules
    assert "has inbound rules" in _refused(action, world, **_PARAMS)


@_isolating
def test_a_group_is_found_by_its_name_in_the_vpc(action: Action, world: World) -> None:
    """A playbook that names no id runs in each account; a group that is missing is refused."""
    groups = world.emulator.world.security_groups
    groups[ISOLATING] = SecurityGroup(ISOLATING, name="smartcloudops-isolation")
    call = world.call(security_group="smartcloudops-isolation")
    assert action.bind(call)["security_group"] == ISOLATING
    groups[ISOLATING].vpc = "vpc-0123456789abcdef1"
    with pytest.raises(NotActionableError, match="has no security group smartcloudops-isolation"):
        action.bind(call)


@pytest.mark.parametrize("state", ["pending", "stopping", "shutting-down", "terminated"])
def test_an_instance_in_between_is_not_quarantined(world: World, state: str) -> None:
    """Its interfaces come and go."""
    world.host.state = state
    assert f"is {state}" in _refused(_quarantine, world, **_PARAMS)


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_disk_is_copied_once_however_often_it_is_tried(world: World, refused: int) -> None:
    """The second time finds the first one's snapshot by its tag."""
    attempts = iter(range(9))

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("CreateSnapshot", "before") and next(attempts) >= 2 - refused:
            raise AwsError("SnapshotCreationPerVolumeRateExceeded")

    call = _prepared(_quarantine, world)
    if refused:
        world.emulator.trouble = trouble
        # The host was cut off all the same.
        with pytest.raises(PartlyDoneError):
            _quarantine.act(call)
        world.emulator.trouble = lambda *_: None
    for _ in range(2):
        _quarantine.act(call)
    copied = world.emulator.world.snapshots
    assert sorted(snapshot["VolumeId"] for snapshot in copied) == ["vol-1", "vol-2"]
    for snapshot in copied:
        assert snapshot["Tags"] == [{"Key": QUARANTINE_TAG, "Value": TOKEN}]


def _prepared(action: Action, world: World) -> Call:
    call = world.call(**_PARAMS)
    return replace(call, before=action.observe(call).before)


@pytest.mark.parametrize(
    ("groups", "outcome"),
    [
        ([ISOLATING], Outcome.CHANGED),
        ([USUAL], Outcome.FAILED),
        ([ISOLATING, USUAL], Outcome.UNKNOWN),
    ],
)
def test_a_lost_quarantine_is_settled_by_its_groups(
    world: World, groups: list[str], outcome: Outcome
) -> None:
    """A group more than the isolating one is no isolation."""
    call = _prepared(_quarantine, world)
    if outcome is Outcome.CHANGED:
        _quarantine.act(call)
    world.host.interfaces = dict.fromkeys(world.host.interfaces, groups)
    assert _quarantine.read_back(call).outcome is outcome
    assert _quarantine.unchanged_since(call) is (outcome is Outcome.CHANGED)


@pytest.mark.parametrize("action", [_release, _end], ids=lambda action: action.name)
def test_what_has_other_interfaces_is_not_released(action: Action, world: World) -> None:
    """Its former groups belong to others."""
    if action is _end:
        world.host.state = "stopped"
    groups = {"eni-0123456789abcdef9": [USUAL]}
    assert "has other interfaces" in _refused(action, world, groups=groups)


def test_a_shutdown_begun_anew_skips_what_is_done(world: World) -> None:
    """An instance that is detached is not detached again, which would be an error."""
    call = _prepared(_shutdown, world)
    for _ in range(2):
        assert _shutdown.act(call) == {}
    detached = {
        "InstanceIds": [world.host.id],
        "AutoScalingGroupName": GROUP,
        "ShouldDecrementDesiredCapacity": False,
    }
    assert world.sent("DetachInstances") == [detached]


def test_a_shutdown_is_done_when_it_has_stopped(world: World) -> None:
    """One that stops is under way."""
    for state, progress in (("stopping", Progress.UNDERWAY), ("stopped", Progress.DONE)):
        world.host.state = state
        assert _shutdown.progress(world.call()) is progress
