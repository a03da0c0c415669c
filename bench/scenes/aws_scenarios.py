"""Incidents in which AWS refuses, takes its time, heals by itself, or is at somebody else's hand.

The right answers are those of AWS's user guides.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bench.scenes.building import expect, id_of, ramp, since
from bench.scenes.scene import Scene, Setting, Then
from demo.aws.core import moment
from demo.aws.emulator import Emulator
from demo.aws.faults import InjectedFault
from demo.aws.world import ACCOUNT, target_group_arn

_PROCESSES = ("AZRebalance", "HealthCheck", "Launch", "ReplaceUnhealthy", "Terminate")


def _refuse(scene: Scene, operation: str, code: str, target: str = "", **more: Any) -> None:
    fault: dict[str, Any] = {"operation": operation, "target": target or id_of(scene)}
    fault |= {"kind": "error", "code": code, "status": 400, **more}
    scene.faults.append(InjectedFault.model_validate(fault))


def _hang(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["hang"] = since(setting, setting.chance.uniform(25, 200))
    expect(scene, "ServiceDown", "restart_service")
    scene.after_failure = Then("reboot_instance")


def _leak(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["leak"] = ramp(setting, setting.chance.uniform(300, 3_000), 0.97)
    expect(scene, "HighMemory", "restart_service")


def _runaway(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["runaway"] = since(setting, setting.chance.uniform(40, 240))
    expect(scene, "HighCPU", "reboot_instance")


def _down(setting: Setting, scene: Scene) -> None:
    scene.members[0].up, scene.members[0].silent_s = False, setting.chance.uniform(20, 90)
    expect(scene, "InstanceDown", "reboot_instance")


def _nothing(scene: Scene) -> None:
    scene.expect, scene.person = [], True


# R: what AWS refuses was not tried.


def _no_document(setting: Setting, scene: Scene) -> None:
    _leak(setting, scene)
    _refuse(scene, "SendCommand", "InvalidDocument")
    _nothing(scene)


def _skewed_clock(setting: Setting, scene: Scene) -> None:
    _runaway(setting, scene)
    _refuse(scene, "RebootInstances", "RequestTimeTooSkewed", status=403)
    _nothing(scene)


def _denied(setting: Setting, scene: Scene) -> None:
    _down(setting, scene)
    _refuse(scene, "RebootInstances", "UnauthorizedOperation", status=403)
    _nothing(scene)


def _throttled(setting: Setting, scene: Scene) -> None:
    _hang(setting, scene)
    _refuse(scene, "SendCommand", "ThrottlingException", times=4)


def _throttled_for_long(setting: Setting, scene: Scene) -> None:
    _hang(setting, scene)
    _refuse(scene, "SendCommand", "ThrottlingException")
    _nothing(scene)


# L: AWS takes longer than a playbook waits.


def _hung_system(setting: Setting, scene: Scene) -> None:
    """EC2 reboots it the hard way after minutes."""
    _down(setting, scene)
    scene.aws.instances[id_of(scene)].hung = True


def _lost_agent(aws: Emulator, scene: Scene) -> None:
    """The agent goes offline as soon as a command is sent."""
    if any(id_of(scene) in command["InstanceIds"] for command in aws.world.commands):
        aws.world.instances[id_of(scene)].agent = "ConnectionLost"


def _command_expires(setting: Setting, scene: Scene) -> None:
    _leak(setting, scene)
    scene.meddle, scene.person, scene.after_failure = _lost_agent, True, None


def _no_agent(setting: Setting, scene: Scene) -> None:
    _hang(setting, scene)
    scene.aws.instances[id_of(scene)].agent = "ConnectionLost"
    _nothing(scene)


# E and G: the group heals by itself.


def _checked_by_balancer(setting: Setting, scene: Scene) -> None:
    """Its group would replace a host that reboots, if its health checks were not suspended.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/suspend-resume-considerations.html
    """
    _runaway(setting, scene)
    scene.group.checks = "ELB"
    scene.aws.attach(scene.group, target_group_arn(scene.name))


def _lent(setting: Setting, scene: Scene) -> None:
    """The group replaces nobody while the host reboots, and afterwards it does again."""
    _checked_by_balancer(setting, scene)
    scene.alerts = [("LeasedCPU", id_of(scene))]


def _lent_amid_throttling(setting: Setting, scene: Scene) -> None:
    _lent(setting, scene)
    _refuse(scene, "ResumeProcesses", "Throttling", times=30, target=scene.name)


# O: whose doing it is, and what people wish.


def _event(scene: Scene, now: float, name: str, identity: Mapping[str, Any], **more: str) -> None:
    detail = {"eventName": name, "userIdentity": identity, **more}
    scene.events.append(
        {
            "EventId": name,
            "EventName": name,
            "EventTime": moment(now - 120),
            "ReadOnly": "false",
            "Username": "someone",
            "Resources": [{"ResourceName": scene.name}],
            "CloudTrailEvent": json.dumps(detail),
        }
    )


_PERSON = {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/alice"}


def _by_aws(setting: Setting, scene: Scene) -> None:
    """Auto Scaling launched an instance, as a service-linked role."""
    _runaway(setting, scene)
    role = f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling"
    identity = {"type": "AssumedRole", "arn": role, "invokedBy": "autoscaling.amazonaws.com"}
    _event(scene, setting.now, "RunInstances", identity)


def _denied_person(setting: Setting, scene: Scene) -> None:
    _runaway(setting, scene)
    _event(scene, setting.now, "UpdateAutoScalingGroup", _PERSON, errorCode="AccessDenied")


def _by_person(setting: Setting, scene: Scene) -> None:
    _runaway(setting, scene)
    _event(scene, setting.now, "UpdateAutoScalingGroup", _PERSON)
    _nothing(scene)


def _suspended(setting: Setting, scene: Scene) -> None:
    """A person suspended all of the group's processes."""
    _runaway(setting, scene)
    scene.group.suspended = set(_PROCESSES)
    _nothing(scene)


def _deleted(setting: Setting, scene: Scene) -> None:
    _runaway(setting, scene)
    scene.group.status = "Delete in progress"
    _nothing(scene)


def _cancel(aws: Emulator, scene: Scene) -> None:
    for command in aws.world.commands:
        if id_of(scene) in command["InstanceIds"] and command["Status"] != "Success":
            command["Status"] = command["StatusDetails"] = "Cancelled"


def _cancelled(setting: Setting, scene: Scene) -> None:
    """A person cancels the command."""
    _leak(setting, scene)
    scene.meddle, scene.person, scene.after_failure = _cancel, True, None


# The ladder: what the first step does not mend.


def _second_step(setting: Setting, scene: Scene) -> None:
    _hang(setting, scene)
    scene.stubborn = frozenset({"hang"})
    scene.expect, scene.after_failure = [*scene.expect, ("reboot_instance", id_of(scene))], None


def _third_step(setting: Setting, scene: Scene) -> None:
    _second_step(setting, scene)
    scene.outlives_boot = True
    scene.expect = [*scene.expect, ("replace_instance", id_of(scene))]


def _no_step(setting: Setting, scene: Scene) -> None:
    """A launch brings the fault again."""
    _third_step(setting, scene)
    scene.every_launch, scene.person = {"hang": 1.0}, True


AWS_KINDS: Mapping[str, Callable[[Setting, Scene], None]] = {
    "R missing document": _no_document,
    "R skewed clock": _skewed_clock,
    "R denied": _denied,
    "R throttled": _throttled,
    "R throttled for long": _throttled_for_long,
    "L hung system": _hung_system,
    "L command expires": _command_expires,
    "L agent offline": _no_agent,
    "G checked by a balancer": _checked_by_balancer,
    "E lent for a reboot": _lent,
    "E returned amid throttling": _lent_amid_throttling,
    "O launched by AWS": _by_aws,
    "O denied to a person": _denied_person,
    "O changed by a person": _by_person,
    "O suspended by a person": _suspended,
    "O being deleted": _deleted,
    "O cancelled by a person": _cancelled,
    "second step helps": _second_step,
    "third step helps": _third_step,
    "no step helps": _no_step,
}
