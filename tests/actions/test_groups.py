"""What a group's answer tells of it, and what its scaling activities and hooks do."""

import pytest

from actions.aws.group_activities import LaunchFailure, read_hooks, read_last_launch
from actions.aws.groups import GROUP_NAME, read_group
from demo.aws.clients import clients
from demo.aws.emulator import Emulator
from demo.aws.world import Member
from tests.conftest import Clock
from tests.emulated_aws import GROUP, emulated_aws


@pytest.fixture
def emulator(clock: Clock) -> Emulator:
    return emulated_aws(clock)


def _fail(emulator: Emulator, message: str) -> None:
    group = emulator.world.groups[GROUP]
    group.launch_error, group.desired = message, 7
    emulator.groups.converge(group)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("We currently do not have sufficient m5.large capacity in the zone.", "capacity"),
        ("There is no Spot capacity available that matches your request.", "capacity"),
        ("You have requested more vCPU capacity than your current vCPU limit of 32.", "quota"),
        ("20 instance(s) are already running. Launching EC2 instance failed.", "quota"),
        ("The image id '[ami-0]' does not exist. Launching EC2 instance failed.", "template"),
        ("Not authorized for images: [ami-0]. Launching EC2 instance failed.", "template"),
    ],
)
def test_a_launch_that_failed_says_why(emulator: Emulator, message: str, cause: str) -> None:
    """By the messages of AWS's page on launch failures."""
    _fail(emulator, message)
    launch = read_last_launch(clients(emulator), GROUP)
    assert launch is not None
    assert (launch.message, launch.failure) == (message, LaunchFailure(cause))


def test_the_last_launch_counts(emulator: Emulator) -> None:
    """And a group that never launched has none."""
    aws = clients(emulator)
    assert read_last_launch(aws, GROUP) is None
    _fail(emulator, "no such image")
    emulator.world.groups[GROUP].launch_error = ""
    emulator.groups.converge(emulator.world.groups[GROUP])
    launch = read_last_launch(aws, GROUP)
    assert launch is not None
    assert launch.failure is None


@pytest.mark.parametrize(
    ("lifecycle", "short"), [("Pending:Wait", 0), ("Standby", 4), ("Terminating", 4)]
)
def test_units_short_are_those_that_are_not_on_their_way(
    emulator: Emulator, lifecycle: str, short: int
) -> None:
    """A group of units, in which one member does not serve."""
    group = emulator.world.groups[GROUP]
    for member in group.members.values():
        member.weight = 4
    group.desired = 24
    next(iter(group.members.values())).lifecycle = lifecycle
    assert read_group(clients(emulator), GROUP).units_short == short


def test_templates_are_told(emulator: Emulator) -> None:
    """A group of mixed instances has its template elsewhere."""
    aws, world = clients(emulator), emulator.world.groups[GROUP]
    world.mixed, world.version = True, "$Latest"
    world.members["i-6"] = Member("i-6", template="lt-1", version="3")
    group = read_group(aws, GROUP)
    assert (group.template, group.version, group.mixed) == (world.template, "$Latest", True)
    assert (group.members["i-6"].template, group.members["i-6"].version) == ("lt-1", "3")
    assert group.zones == world.zones


def test_hooks_have_their_own_time(emulator: Emulator) -> None:
    """One holds a member that comes, the other one that goes."""
    emulator.world.groups[GROUP].hooks = [
        {
            "LifecycleHookName": name,
            "LifecycleTransition": f"autoscaling:EC2_INSTANCE_{transition}",
            "HeartbeatTimeout": timeout,
        }
        for name, transition, timeout in (("up", "LAUNCHING", 600), ("down", "TERMINATING", 7200))
    ]
    hooks = read_hooks(clients(emulator), GROUP)
    assert [(hook.name, hook.launching, hook.timeout_s) for hook in hooks] == [
        ("up", True, 600),
        ("down", False, 7200),
    ]


@pytest.mark.parametrize(
    "name",
    ["web+api", "web@prod", "_web", "web=1", "web(blue)", "web~1", "web#1", "my web", "w" * 255],
)
def test_a_name_that_aws_takes_is_a_name(name: str) -> None:
    assert GROUP_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", " web", 'we"b', "we\\b", "web*", "we?b", "we{b", "$web", "a:b", "w" * 256]
)
def test_a_name_that_means_something_in_a_query_is_none(name: str) -> None:
    assert not GROUP_NAME.fullmatch(name)
