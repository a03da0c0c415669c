"""Every action with what it needs, on the emulated AWS in virtual time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actions.aws.client_set import Aws
from actions.aws.tags import QUARANTINE_TAG
from actions.base import Call
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import (
    TEMPLATE,
    Group,
    Instance,
    Member,
    SecurityGroup,
    target_group_arn,
)
from tests.conftest import Clock
from tests.fake_messenger import FakeMessenger

GROUP = "web-asg"
HOST = f"i-{0:017x}"
TOKEN = "01K9ZZZZZZZZZZZZZZZZZZZZZZ/0"
ISOLATING, USUAL = "sg-0123456789abcdef0", "sg-00000001"
BLUE, GREEN = target_group_arn("blue"), target_group_arn("green")
BALANCER = target_group_arn("web").replace("targetgroup/", "loadbalancer/app/")
RULE = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener-rule/app/web/1a/2b/3c"


@dataclass
class World:
    """A group of six behind a load balancer, and clients for it."""

    clock: Clock = field(default_factory=Clock)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)

    def __post_init__(self) -> None:
        self.emulator = Emulator(Core(self.clock))
        self.aws: Aws = clients(self.emulator)
        group = Group(GROUP, 4, 12, 6, target_groups=[target_group_arn("web")])
        world = self.emulator.world
        world.add_group(group, [f"i-{number:017x}" for number in range(6)], self.clock() - 86_400)
        world.target_groups[group.target_groups[0]].delay_s = 5.0
        world.security_groups[ISOLATING] = SecurityGroup(ISOLATING)
        self.former_weights()

    def former_weights(self) -> None:
        weights = ((BLUE, 90), (GREEN, 10))
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights]
        forward = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
        self.emulator.world.rules[RULE] = [forward]

    def call(self, target: str = "", **params: Any) -> Call:
        """A step's call on the first member, or on `target`."""
        return Call(
            aws=self.aws,
            messenger=self.messenger,
            target=target or self.host.id,
            params=params,
            token=TOKEN,
            group_name=GROUP,
        )

    @property
    def host(self) -> Instance:
        """The first member that was launched."""
        return self.emulator.world.instances[HOST]

    def sent(self, operation: str) -> list[Mapping[str, Any]]:
        """The parameters of each such call."""
        calls = self.emulator.calls
        return [call.parameters for call in calls if call.operation == operation]

    @property
    def group(self) -> Group:
        self.emulator.pass_time()
        return self.emulator.world.groups[GROUP]

    def members(self, lifecycle: str) -> list[Member]:
        members = self.group.members.values()
        return [member for member in members if member.lifecycle == lifecycle]

    def in_service(self) -> list[str]:
        return [member.id for member in self.members("InService")]

    def calls(self, run_id: str) -> list[str]:
        """Operations that changed something for this run."""
        own = [call for call in self.emulator.log if call.session == run_id and not call.reads]
        return [call.operation for call in own]

    def settle(self) -> None:
        """Wait until the group is whole again."""
        self.aws.autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=6)
        self.eventually(lambda: len(self.in_service()) == 6 == len(self.group.members))

    def eventually(self, holds: Callable[[], object]) -> None:
        until = self.clock() + 600
        while not holds():
            assert self.clock() < until, "the condition did not hold in time"
            self.clock.now += 1


@dataclass(frozen=True, kw_only=True)
class Case:
    """One action. `before` prepares its target (an instance of the group, or the group).

    It `heals` before what was done can be undone.
    """

    action: str
    writes: str
    of_group: bool = False
    params: Callable[[World], dict[str, Any]] = lambda _: {}
    before: Callable[[World, str], None] = lambda _, __: None
    after: Callable[[World, str], None] = lambda _, __: None
    heals: Callable[[World], None] = lambda _: None


def _stop(world: World, target: str) -> None:
    _suspend(world, target)
    world.aws.ec2.stop_instances(InstanceIds=[target])
    world.clock.now += 60


def _start(world: World, target: str) -> None:
    world.clock.now += 60
    world.aws.ec2.start_instances(InstanceIds=[target])
    _resume(world, target)


def _suspend(world: World, _: str) -> None:
    world.group.suspended = {"HealthCheck", "ReplaceUnhealthy"}


def _suspend_one_unhealthy(world: World, target: str) -> None:
    _suspend(world, target)
    world.members("InService")[-1].health = "Unhealthy"


def _unhealthy(world: World) -> list[str]:
    return [member.id for member in world.members("InService") if member.health == "Unhealthy"]


def _resume(world: World, _: str) -> None:
    world.group.suspended = set()
    for member in world.members("InService"):
        member.health = "Healthy"


def _standby(world: World, target: str) -> None:
    world.aws.autoscaling.enter_standby(
        AutoScalingGroupName=GROUP, InstanceIds=[target], ShouldDecrementDesiredCapacity=True
    )
    world.clock.now += 60


def _keep_zones(world: World, _: str) -> None:
    """Nothing has to precede the step."""
    world.group.suspended = {"AZRebalance"}


def _let_balance(world: World, target: str) -> None:
    _back(world, target)
    world.group.suspended = set()


def _back(world: World, target: str) -> None:
    world.clock.now += 60
    if target not in world.in_service():
        world.aws.autoscaling.exit_standby(AutoScalingGroupName=GROUP, InstanceIds=[target])


def _detach(world: World, target: str) -> None:
    world.aws.autoscaling.detach_instances(
        AutoScalingGroupName=GROUP, InstanceIds=[target], ShouldDecrementDesiredCapacity=True
    )
    world.clock.now += 60


def _attach(world: World, target: str) -> None:
    world.clock.now += 60
    if target not in world.group.members:
        world.aws.autoscaling.attach_instances(AutoScalingGroupName=GROUP, InstanceIds=[target])


def _refresh(world: World, _: str) -> None:
    world.aws.autoscaling.start_instance_refresh(
        AutoScalingGroupName=GROUP,
        DesiredConfiguration={
            "LaunchTemplate": {"LaunchTemplateId": "lt-0123456789abcdef0", "Version": "2"}
        },
    )


def _no_refresh(world: World, _: str) -> None:
    world.clock.now += 600
    group = world.group
    group.refreshes.clear()
    group.version = "1"
    for member in group.members.values():
        member.version = "1"


def _deregister(world: World, target: str) -> None:
    for arn in world.group.target_groups:
        world.aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": target}])


def _register(world: World, target: str) -> None:
    for arn in world.group.target_groups:
        world.aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": target}])


def _isolation(_: World) -> dict[str, Any]:
    return {"security_group": ISOLATING}


def _isolate(world: World, target: str) -> None:
    instance = world.emulator.world.instances[target]
    instance.interfaces = {name: [ISOLATING] for name in instance.interfaces}
    instance.tags[QUARANTINE_TAG] = "true"


def _release(world: World, target: str) -> None:
    instance = world.emulator.world.instances[target]
    instance.interfaces = {name: [USUAL] for name in instance.interfaces}
    instance.tags.pop(QUARANTINE_TAG, None)


def _quarantine(world: World, target: str) -> None:
    _standby(world, target)
    _isolate(world, target)


def _released(world: World, target: str) -> None:
    _release(world, target)
    _back(world, target)


def _former_groups(world: World) -> dict[str, Any]:
    interfaces = [
        interface
        for instance in world.emulator.world.instances.values()
        for interface, groups in instance.interfaces.items()
        if groups == [ISOLATING]
    ]
    return {"groups": {name: [USUAL] for name in interfaces or ["eni-00000000"]}}


def _shut_down(world: World, target: str) -> None:
    _isolate(world, target)
    _detach(world, target)
    world.aws.ec2.stop_instances(InstanceIds=[target])
    world.clock.now += 60


def _terminate(world: World, target: str) -> None:
    _release(world, target)
    world.aws.ec2.terminate_instances(InstanceIds=[target])
    world.clock.now += 60


def _fail_zone(world: World, _: str) -> None:
    targets = world.emulator.world.target_groups[target_group_arn("web")]
    world.emulator.world.shiftable.add(BALANCER)
    targets.balancers = [BALANCER]
    members = world.group.members.values()
    targets.states = {member.id: "unhealthy" for member in members if member.az == "us-east-1a"}


def _shift(world: World, target: str) -> None:
    _fail_zone(world, target)
    world.aws.arc_zonal_shift.start_zonal_shift(
        resourceIdentifier=BALANCER, awayFrom="use1-az1", expiresIn="1h", comment="by hand"
    )
    _heal_zone(world)


def _heal_zone(world: World) -> None:
    world.emulator.world.target_groups[target_group_arn("web")].states.clear()


def _shift_back(world: World, _: str) -> None:
    world.emulator.world.shifts.clear()
    _heal_zone(world)


def _shifted(world: World) -> dict[str, Any]:
    shifts = [shift["zonalShiftId"] for shift in world.emulator.world.shifts]
    return {
        "shift": (shifts or ["shift-none"])[0],
        "load_balancer": BALANCER,
        "zone": "us-east-1a",
    }


def _topic(_: World) -> dict[str, Any]:
    topic = "arn:aws:sns:us-east-1:123456789012:oncall"
    return {"topic": topic, "message": "it did not recover"}


CASES = (
    Case(
        action="restart_service",
        writes="SendCommand",
        params=lambda _: {"service": "web"},
    ),
    Case(
        action="run_document",
        writes="SendCommand",
        params=lambda _: {"document": "SmartCloudOps-CleanDisk"},
    ),
    Case(action="reboot_instance", writes="RebootInstances"),
    Case(action="stop_instance", writes="StopInstances", before=_suspend, after=_start),
    Case(action="start_instance", writes="StartInstances", before=_stop, after=_start),
    Case(action="replace_instance", writes="TerminateInstanceInAutoScalingGroup"),
    Case(
        action="set_desired_capacity",
        writes="SetDesiredCapacity",
        of_group=True,
        params=lambda _: {"desired": "+1"},
    ),
    Case(
        action="scale_in",
        writes="SetDesiredCapacity",
        of_group=True,
        params=lambda _: {"desired": "-1"},
    ),
    Case(action="enter_standby", writes="EnterStandby", before=_keep_zones, after=_let_balance),
    Case(
        action="exit_standby",
        writes="ExitStandby",
        before=_standby,
        after=_back,
    ),
    Case(action="detach_instance", writes="DetachInstances", after=_attach),
    Case(
        action="attach_instance",
        writes="AttachInstances",
        params=lambda _: {"group": GROUP},
        before=_detach,
        after=_attach,
    ),
    Case(
        action="suspend_processes",
        writes="SuspendProcesses",
        of_group=True,
        params=lambda _: {"processes": ["ReplaceUnhealthy", "AZRebalance"]},
        after=_resume,
    ),
    Case(
        action="resume_processes",
        writes="ResumeProcesses",
        of_group=True,
        params=lambda world: {"processes": ["ReplaceUnhealthy"], "set_healthy": _unhealthy(world)},
        before=_suspend_one_unhealthy,
        after=_resume,
    ),
    Case(
        action="start_instance_refresh",
        writes="StartInstanceRefresh",
        of_group=True,
        after=_no_refresh,
    ),
    Case(
        action="restore_version",
        writes="StartInstanceRefresh",
        of_group=True,
        params=lambda _: {"version": f"{TEMPLATE}/2"},
        after=_no_refresh,
    ),
    Case(
        action="rollback_instance_refresh",
        writes="RollbackInstanceRefresh",
        of_group=True,
        before=_refresh,
        after=_no_refresh,
    ),
    Case(
        action="cancel_instance_refresh",
        writes="CancelInstanceRefresh",
        of_group=True,
        before=_refresh,
        after=_no_refresh,
    ),
    Case(action="deregister_target", writes="DeregisterTargets", after=_register),
    Case(action="register_target", writes="RegisterTargets", before=_deregister, after=_register),
    Case(
        action="shift_traffic",
        writes="ModifyRule",
        of_group=True,
        params=lambda _: {"rule": RULE, "weights": {BLUE: 0, GREEN: 100}},
        after=lambda world, _: world.former_weights(),
    ),
    Case(
        action="start_zonal_shift",
        writes="StartZonalShift",
        of_group=True,
        params=lambda _: {"minutes": 60},
        before=_fail_zone,
        after=_shift_back,
        heals=_heal_zone,
    ),
    Case(
        action="cancel_zonal_shift",
        writes="CancelZonalShift",
        of_group=True,
        params=_shifted,
        before=_shift,
        after=_shift_back,
    ),
    Case(
        action="quarantine_instance",
        writes="ModifyNetworkInterfaceAttribute",
        params=_isolation,
        after=_released,
    ),
    Case(
        action="release_quarantine",
        writes="ModifyNetworkInterfaceAttribute",
        params=lambda world: {**_former_groups(world), "exit_standby": True},
        before=_quarantine,
        after=_released,
    ),
    Case(action="emergency_shutdown", writes="StopInstances", params=_isolation, after=_terminate),
    Case(
        action="end_emergency_shutdown",
        writes="StartInstances",
        params=_former_groups,
        before=_shut_down,
        after=_terminate,
    ),
    Case(action="page", writes="Publish", params=_topic),
)
# Actions that do not call AWS.
OUTSIDE = (
    Case(action="notify", writes="", params=lambda _: {"to": "oncall", "message": "look"}),
    Case(action="create_silence", writes="", params=lambda _: {"alertnames": ["ServiceDown"]}),
    Case(action="expire_silence", writes="", params=lambda _: {"silences": ["silence-0"]}),
)
