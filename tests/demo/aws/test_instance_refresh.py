"""An instance refresh replaces the members, and ends as the user guide says."""

import pytest
from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import TEMPLATE, Group
from tests.conftest import Clock

_TO_TWO = {"LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "Version": "2"}}


@pytest.fixture
def region(clock: Clock) -> tuple[Emulator, Aws, Group]:
    aws = Emulator(Core(clock))
    group = Group("web", 2, 12, 3)
    aws.world.add_group(group, [f"i-{number:017x}" for number in range(3)], 0.0)
    return aws, clients(aws), group


def _start(aws: Aws, **more: object) -> None:
    aws.autoscaling.start_instance_refresh(AutoScalingGroupName="web", **more)  # type: ignore[arg-type] # its parameters


def _versions(group: Group) -> list[str]:
    members = group.members.values()
    return sorted(member.version for member in members if member.lifecycle == "InService")


def _status(aws: Aws) -> str:
    answer = aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName="web")
    return answer["InstanceRefreshes"][0]["Status"]


def _pass(aws: Emulator, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        aws.pass_time()


def test_the_wanted_version_is_the_groups_own_once_it_succeeds(
    region: tuple[Emulator, Aws, Group], clock: Clock
) -> None:
    emulator, aws, group = region
    _start(aws, DesiredConfiguration=_TO_TWO)
    _pass(emulator, clock, 8)
    assert (_status(aws), group.version) == ("InProgress", "1")
    _pass(emulator, clock, 120)
    assert (_status(aws), _versions(group), group.version) == ("Successful", ["2"] * 3, "2")


def test_members_of_the_wanted_version_are_skipped(
    region: tuple[Emulator, Aws, Group], clock: Clock
) -> None:
    emulator, aws, group = region
    before = set(group.members)
    _start(aws, Preferences={"SkipMatching": True})
    _pass(emulator, clock, 30)
    assert (_status(aws), set(group.members)) == ("Successful", before)
    _start(aws)
    _pass(emulator, clock, 120)
    assert (_status(aws), set(group.members) & before) == ("Successful", set())


def test_what_was_replaced_stays_after_a_cancel(
    region: tuple[Emulator, Aws, Group], clock: Clock
) -> None:
    emulator, aws, group = region
    _start(aws, DesiredConfiguration=_TO_TWO)
    _pass(emulator, clock, 20)
    aws.autoscaling.cancel_instance_refresh(AutoScalingGroupName="web")
    assert _status(aws) == "Cancelling"
    with pytest.raises(ClientError, match="InstanceRefreshInProgress"):
        _start(aws)
    _pass(emulator, clock, 60)
    assert (_status(aws), group.version, len(set(_versions(group)))) == ("Cancelled", "1", 2)


def test_a_rollback_replaces_what_was_replaced(
    region: tuple[Emulator, Aws, Group], clock: Clock
) -> None:
    emulator, aws, group = region
    _start(aws, DesiredConfiguration=_TO_TWO)
    _pass(emulator, clock, 20)
    aws.autoscaling.rollback_instance_refresh(AutoScalingGroupName="web")
    _pass(emulator, clock, 60)
    assert (_status(aws), _versions(group)) == ("RollbackSuccessful", ["1"] * 3)


@pytest.mark.parametrize("version", ["$Latest", "2"])
def test_what_has_no_way_back_is_not_rolled_back(
    region: tuple[Emulator, Aws, Group], version: str
) -> None:
    """No desired configuration, or no numbered version to go back to."""
    _, aws, group = region
    group.version = version
    _start(aws, **({"DesiredConfiguration": _TO_TWO} if version == "$Latest" else {}))
    with pytest.raises(ClientError, match="IrreversibleInstanceRefresh"):
        aws.autoscaling.rollback_instance_refresh(AutoScalingGroupName="web")


def test_it_fails_where_the_group_stays_short(
    region: tuple[Emulator, Aws, Group], clock: Clock
) -> None:
    """AWS waits for an hour; what was replaced by then is not rolled back."""
    emulator, aws, group = region
    group.launch_error = "We currently do not have sufficient c6i.large capacity in the zone."
    _start(aws, DesiredConfiguration=_TO_TWO)
    _pass(emulator, clock, 3_590)
    assert (_status(aws), len(group.members)) == ("InProgress", 2)
    _pass(emulator, clock, 60)
    assert (_status(aws), group.version) == ("Failed", "1")


@pytest.mark.parametrize(
    ("preferences", "upkeep"),
    [
        ({"MinHealthyPercentage": 90, "MaxHealthyPercentage": 200}, {}),
        (
            {"MinHealthyPercentage": 90},
            {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200},
        ),
        ({"MaxHealthyPercentage": 110}, {}),
    ],
)
def test_percentages_too_far_apart_are_refused(
    region: tuple[Emulator, Aws, Group], preferences: dict[str, int], upkeep: dict[str, int]
) -> None:
    """What is not given is the maintenance policy's; one without the other is none."""
    _, aws, group = region
    group.upkeep = upkeep
    with pytest.raises(ClientError, match="MinHealthyPercentage"):
        _start(aws, Preferences=preferences)
