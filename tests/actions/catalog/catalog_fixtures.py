"""Every action with what it needs, against the emulated AWS at twenty times real speed."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from actions.aws.client_set import Aws
from actions.aws.inventory import QUARANTINE_TAG
from tests.fake_messenger import FakeMessenger

GROUP = "web-asg"
ISOLATING = "isolating"


@dataclass(kw_only=True)
class World:
    """A running emulator, and clients for it."""

    url: str
    http: httpx.Client
    aws: Aws
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    created: dict[str, Any] = field(default_factory=dict)

    def group(self) -> Mapping[str, Any]:
        answer = self.aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
        return dict(answer["AutoScalingGroups"][0])

    def in_service(self) -> list[str]:
        return [
            member["InstanceId"]
            for member in self.group()["Instances"]
            if member["LifecycleState"] == "InService"
        ]

    def calls(self, run_id: str) -> list[str]:
        """Operations that changed something for this run."""
        lines = self.http.get(f"{self.url}/_sim/calls").text.splitlines()
        own = [call for call in map(json.loads, lines) if call["session"] == run_id]
        reads = ("Describe", "List", "Get")
        return [call["operation"] for call in own if not call["operation"].startswith(reads)]

    def settle(self) -> None:
        """Wait until the group is whole again."""
        self.aws.autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=6)
        eventually(lambda: len(self.in_service()) == 6 == len(self.group()["Instances"]))

    def security_group(self, name: str) -> str:
        """A security group of the fleet's network, created once, without rules."""
        if name not in self.created:
            instance = self.aws.ec2.describe_instances()["Reservations"][0]["Instances"][0]
            answer = self.aws.ec2.create_security_group(
                GroupName=name, Description=name, VpcId=instance["VpcId"]
            )
            self.created[name] = answer["GroupId"]
            self.aws.ec2.revoke_security_group_egress(
                GroupId=answer["GroupId"],
                IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
            )
        return str(self.created[name])

    def rule(self) -> tuple[str, list[str]]:
        """A balancer's rule that shares between two target groups, created once: ARNs."""
        if "rule" not in self.created:
            self.created["rule"] = self._make_rule()
        arn, groups = self.created["rule"]
        return str(arn), list(groups)

    def _make_rule(self) -> tuple[str, list[str]]:
        elb = self.aws.elbv2
        subnets = [subnet["SubnetId"] for subnet in self.aws.ec2.describe_subnets()["Subnets"][:2]]
        vpc = self.aws.ec2.describe_subnets(SubnetIds=subnets[:1])["Subnets"][0]["VpcId"]
        balancer = elb.create_load_balancer(Name="shared", Subnets=subnets)["LoadBalancers"][0]
        groups = [
            elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc)["TargetGroups"][
                0
            ]["TargetGroupArn"]
            for name in ("blue", "green")
        ]
        listener = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": groups[0]}],
        )["Listeners"][0]["ListenerArn"]
        weighted = [
            {"TargetGroupArn": arn, "Weight": weight}
            for arn, weight in zip(groups, (90, 10), strict=True)
        ]
        rule = elb.create_rule(
            ListenerArn=listener,
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
            Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weighted}}],  # type: ignore[list-item,misc] # it fits
        )["Rules"][0]
        return rule["RuleArn"], groups


def eventually(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until, "the condition did not hold in time"
        time.sleep(0.1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One action. `before` prepares its target (an instance of the group, or the group)."""

    action: str
    writes: str
    of_group: bool = False
    params: Callable[[World], dict[str, Any]] = lambda _: {}
    before: Callable[[World, str], None] = lambda _, __: None
    after: Callable[[World, str], None] = lambda _, __: None


def _stop(world: World, target: str) -> None:
    _suspend(world, target)
    world.aws.ec2.stop_instances(InstanceIds=[target])


def _start(world: World, target: str) -> None:
    world.aws.ec2.start_instances(InstanceIds=[target])
    _resume(world, target)


def _suspend(world: World, _: str) -> None:
    world.aws.autoscaling.suspend_processes(
        AutoScalingGroupName=GROUP, ScalingProcesses=["ReplaceUnhealthy"]
    )


def _resume(world: World, _: str) -> None:
    world.aws.autoscaling.resume_processes(
        AutoScalingGroupName=GROUP, ScalingProcesses=["ReplaceUnhealthy", "AZRebalance"]
    )


def _standby(world: World, target: str) -> None:
    world.aws.autoscaling.enter_standby(
        AutoScalingGroupName=GROUP, InstanceIds=[target], ShouldDecrementDesiredCapacity=True
    )


def _back(world: World, target: str) -> None:
    if target not in world.in_service():
        world.aws.autoscaling.exit_standby(AutoScalingGroupName=GROUP, InstanceIds=[target])


def _detach(world: World, target: str) -> None:
    world.aws.autoscaling.detach_instances(
        AutoScalingGroupName=GROUP, InstanceIds=[target], ShouldDecrementDesiredCapacity=True
    )


def _attach(world: World, target: str) -> None:
    if target not in {member["InstanceId"] for member in world.group()["Instances"]}:
        world.aws.autoscaling.attach_instances(AutoScalingGroupName=GROUP, InstanceIds=[target])


def _refresh(world: World, _: str) -> None:
    world.aws.autoscaling.start_instance_refresh(AutoScalingGroupName=GROUP)


def _no_refresh(world: World, _: str) -> None:
    answer = world.aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=GROUP)
    states = [refresh["Status"] for refresh in answer["InstanceRefreshes"]]
    if states and states[0] in {"InProgress", "RollbackInProgress"}:
        # It may end between the two calls.
        with suppress(world.aws.autoscaling.exceptions.ActiveInstanceRefreshNotFoundFault):
            world.aws.autoscaling.cancel_instance_refresh(AutoScalingGroupName=GROUP)


def _deregister(world: World, target: str) -> None:
    for arn in world.group()["TargetGroupARNs"]:
        world.aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": target}])


def _register(world: World, target: str) -> None:
    for arn in world.group()["TargetGroupARNs"]:
        world.aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": target}])


def _weights(world: World) -> dict[str, Any]:
    arn, (blue, green) = world.rule()
    return {"rule": arn, "weights": {blue: 0, green: 100}}


def _former_weights(world: World, _: str) -> None:
    arn, (blue, green) = world.rule()
    groups = [{"TargetGroupArn": blue, "Weight": 90}, {"TargetGroupArn": green, "Weight": 10}]
    config = {"TargetGroups": groups}
    world.aws.elbv2.modify_rule(
        RuleArn=arn,
        Actions=[{"Type": "forward", "ForwardConfig": config}],  # type: ignore[list-item,misc] # it fits
    )


def _isolation(world: World) -> dict[str, Any]:
    return {"security_group": world.security_group(ISOLATING)}


def _interfaces(world: World, target: str) -> list[str]:
    answer = world.aws.ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [target]}]
    )
    return [interface["NetworkInterfaceId"] for interface in answer["NetworkInterfaces"]]


def _isolate(world: World, target: str) -> None:
    world.created["interfaces"] = _interfaces(world, target)
    for interface in world.created["interfaces"]:
        world.aws.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=interface, Groups=[world.security_group(ISOLATING)]
        )
    world.aws.ec2.create_tags(Resources=[target], Tags=[{"Key": QUARANTINE_TAG, "Value": "true"}])


def _release(world: World, target: str) -> None:
    for interface in _interfaces(world, target):
        world.aws.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=interface, Groups=[world.security_group("usual")]
        )
    world.aws.ec2.delete_tags(Resources=[target], Tags=[{"Key": QUARANTINE_TAG}])


def _former_groups(world: World) -> dict[str, Any]:
    usual = world.security_group("usual")
    return {"groups": {interface: [usual] for interface in world.created["interfaces"]}}


def _shut_down(world: World, target: str) -> None:
    _isolate(world, target)
    _detach(world, target)
    world.aws.ec2.stop_instances(InstanceIds=[target])


def _terminate(world: World, target: str) -> None:
    world.aws.ec2.terminate_instances(InstanceIds=[target])


def _topic(world: World) -> dict[str, Any]:
    arn = world.aws.sns.create_topic(Name="oncall")["TopicArn"]
    return {"topic": arn, "message": "it did not recover"}


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
    Case(action="enter_standby", writes="EnterStandby", after=_back),
    Case(action="exit_standby", writes="ExitStandby", before=_standby, after=_back),
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
        params=lambda _: {"processes": ["ReplaceUnhealthy"]},
        before=_suspend,
        after=_resume,
    ),
    Case(
        action="start_instance_refresh",
        writes="StartInstanceRefresh",
        of_group=True,
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
        params=_weights,
        after=_former_weights,
    ),
    Case(
        action="quarantine_instance",
        writes="ModifyNetworkInterfaceAttribute",
        params=_isolation,
        after=_release,
    ),
    Case(
        action="release_quarantine",
        writes="ModifyNetworkInterfaceAttribute",
        params=_former_groups,
        before=_isolate,
        after=_release,
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
