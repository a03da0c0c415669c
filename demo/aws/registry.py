"""The fleet's instances in moto's state, corrected where moto differs from AWS.

In moto a new instance is in service at once, and a whole group is in its first zone. Here, as in
AWS, an instance is pending first, and a group's instances are spread over its zones. A member is
registered with its load balancer once, when it comes into service.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config
from moto.autoscaling.models import FakeAutoScalingGroup
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

REGION = "us-east-1"
GROUPS = ("web-asg", "api-asg")
MINIMUM, DESIRED, MAXIMUM = 4, 6, 12
_ZONES = tuple(f"{REGION}{letter}" for letter in "abc")
_GROUP_TAG = "aws:autoscaling:groupName"
_PENDING, _RUNNING = (0, "pending"), (16, "running")
# The age of the first instances, in seconds.
_AGE = timedelta(days=20)
_STARTING_S = 3.0
_IN_SERVICE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class RegisteredInstance:
    """An instance that is not terminated. `launched_at` is epoch seconds."""

    instance_id: str
    group: str
    az: str
    address: str
    running: bool
    in_service: bool
    launched_at: float


@dataclass
class Registry:
    """Launches are `speed` times as fast as in AWS; the first instances are in service at once."""

    speed: float
    _known: set[str] = field(default_factory=set, init=False)
    _launching: dict[str, float] = field(default_factory=dict, init=False)
    _begun: bool = field(default=False, init=False)
    # Members that are registered with their group's target groups.
    _serving: dict[str, str] = field(default_factory=dict, init=False)

    def create(self, endpoint: str) -> None:
        """Make the network, both groups and the target group, through the API itself."""
        # moto registers all members again at each change, and raises for a stopped member.
        type(_autoscaling()).update_attached_target_groups = lambda *_: None
        # moto launches a second instance for each instance that is still launching.
        FakeAutoScalingGroup.active_instances = _active  # type: ignore[assignment,method-assign] # the same signature
        session = boto3.Session("emulated", "emulated", region_name=REGION)
        config = Config(retries={"total_max_attempts": 1}, read_timeout=60)
        ec2 = session.client("ec2", endpoint_url=endpoint, config=config)
        autoscaling = session.client("autoscaling", endpoint_url=endpoint, config=config)
        elb = session.client("elbv2", endpoint_url=endpoint, config=config)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone)[
                "Subnet"
            ]["SubnetId"]
            for number, zone in enumerate(_ZONES)
        ]
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        for group in GROUPS:
            service = group.removesuffix("-asg")
            template = ec2.create_launch_template(
                LaunchTemplateName=service,
                LaunchTemplateData={"ImageId": image, "InstanceType": "c6i.large"},
            )["LaunchTemplate"]["LaunchTemplateId"]
            target = elb.create_target_group(
                Name=service, Protocol="HTTP", Port=8080, VpcId=vpc, TargetType="instance"
            )["TargetGroups"][0]["TargetGroupArn"]
            autoscaling.create_auto_scaling_group(
                AutoScalingGroupName=group,
                LaunchTemplate={"LaunchTemplateId": template, "Version": "$Latest"},
                MinSize=MINIMUM,
                MaxSize=MAXIMUM,
                DesiredCapacity=DESIRED,
                VPCZoneIdentifier=",".join(subnets),
                TargetGroupARNs=[target],
                Tags=[
                    {"Key": key, "Value": value, "PropagateAtLaunch": True}
                    for key, value in (
                        ("Name", service),
                        ("service", service),
                        ("smartcloudops:remediate", "true"),
                    )
                ],
            )
        self.instances(0.0)
        self._begun = True

    def instances(self, now: float) -> Sequence[RegisteredInstance]:
        """Every instance of a group that is not terminated."""
        states = {
            state.instance_id: state
            for group in _autoscaling().autoscaling_groups.values()
            for state in group.instance_states
        }
        self._serve(now)
        served = _targets()
        registered = []
        for reservation in list(_ec2().reservations.values()):
            for instance in reservation.instances:
                group = {tag["key"]: tag["value"] for tag in instance.get_tags()}.get(_GROUP_TAG)
                if group is None or instance.state == "terminated":
                    continue
                state = states.get(instance.id)
                registered.append(
                    RegisteredInstance(
                        instance_id=instance.id,
                        group=group,
                        az=instance.placement.zone,
                        address=instance.private_ip,
                        running=instance.state == "running",
                        in_service=state is not None
                        and state.lifecycle_state == "InService"
                        and instance.id in served,
                        launched_at=instance.launch_time.timestamp(),
                    )
                )
        return registered

    def _serve(self, now: float) -> None:
        """Register each member once it is in service, deregister it once it has left."""
        for name, group in list(_autoscaling().autoscaling_groups.items()):
            states = {state.instance.id: state for state in group.instance_states}
            for instance_id, state in states.items():
                self._launch(state.instance, state, now)
                if state.lifecycle_state == "InService" and instance_id not in self._serving:
                    self._serving[instance_id] = name
                    for arn in group.target_group_arns:
                        target_group = _target_groups()[arn]
                        target_group.targets[instance_id] = {
                            "Id": instance_id,
                            "Port": target_group.port,
                        }
            for instance_id, of in list(self._serving.items()):
                state = states.get(instance_id)
                if of == name and (state is None or state.lifecycle_state != "InService"):
                    del self._serving[instance_id]
                    for arn in group.target_group_arns:
                        _target_groups()[arn].targets.pop(instance_id, None)

    def usual_size(self, group: str) -> int:
        """The number of members for which the group's usual traffic is sized."""
        return DESIRED if group in GROUPS else 1

    def _launch(self, instance: Any, state: Any, now: float) -> None:
        if instance.id not in self._known:
            instance.placement.zone = _ZONES[len(self._known) % len(_ZONES)]
            self._known.add(instance.id)
            if self._begun:
                self._launching[instance.id] = now
            else:
                instance.launch_time -= _AGE
            if state is not None:
                state.availability_zone = instance.placement.zone
        began = self._launching.get(instance.id)
        if began is None:
            return
        age = (now - began) * self.speed
        if age < _STARTING_S:
            instance._state.code, instance._state.name = _PENDING
        elif instance._state.name == "pending":
            instance._state.code, instance._state.name = _RUNNING
        if state is not None:
            state.lifecycle_state = "Pending" if age < _IN_SERVICE_S else "InService"
        if age >= _IN_SERVICE_S:
            del self._launching[instance.id]


def _active(group: Any) -> list[Any]:
    return [state for state in group.instance_states if state.lifecycle_state != "Standby"]


def instance_state(instance_id: str) -> str | None:
    """EC2's state of an instance, None if it does not exist."""
    for reservation in list(_ec2().reservations.values()):
        for instance in reservation.instances:
            if instance.id == instance_id:
                return str(instance.state)
    return None


def bounds(group: str) -> tuple[int, int] | None:
    """A group's minimum and maximum, None if it does not exist."""
    state = _autoscaling().autoscaling_groups.get(group)
    return None if state is None else (state.min_size, state.max_size)


def group_size(group: str) -> int:
    """The number of members of a group, 0 if it does not exist."""
    state = _autoscaling().autoscaling_groups.get(group)
    return 0 if state is None else len(state.instance_states)


def targets_of(arn: str) -> Sequence[str]:
    """The ids of the instances that are registered with a target group."""
    state = _target_groups().get(arn)
    return [] if state is None else list(state.targets)


def _targets() -> set[str]:
    return {instance_id for group in _target_groups().values() for instance_id in group.targets}


def _target_groups() -> Any:
    return get_backend("elbv2")[DEFAULT_ACCOUNT_ID][REGION].target_groups


def _ec2() -> Any:
    return get_backend("ec2")[DEFAULT_ACCOUNT_ID][REGION]


def _autoscaling() -> Any:
    return get_backend("autoscaling")[DEFAULT_ACCOUNT_ID][REGION]
