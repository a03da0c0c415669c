"""What the emulated AWS holds of the fleet, read from moto's own state, and mended there.

moto has a new instance run, and be in service, at once, and puts all of a group into its first
zone; here it is pending first, and the zones take turns, as in AWS. A member is registered with
its balancer once, as it comes into service.
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
# How long the instances of the beginning have been there.
_AGE = timedelta(days=20)
_STARTING_S = 3.0
_IN_SERVICE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Registered:
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
    """`speed` shortens how long a launch takes. Instances of the beginning are there at once."""

    speed: float
    _known: set[str] = field(default_factory=set, init=False)
    _launching: dict[str, float] = field(default_factory=dict, init=False)
    _begun: bool = field(default=False, init=False)
    # Members that their group has registered with its target groups.
    _serving: dict[str, str] = field(default_factory=dict, init=False)

    def create(self, endpoint: str) -> None:
        """Make the network, both groups and the target group, through the API itself."""
        # It registers all members anew at every change, and fails over one that is not running.
        type(_autoscaling()).update_attached_target_groups = lambda *_: None
        # It would launch another one for each that is still launching.
        FakeAutoScalingGroup.active_instances = _active  # type: ignore[assignment,method-assign] # it fits
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

    def instances(self, now: float) -> Sequence[Registered]:
        """Every instance of a group that is not terminated."""
        states = {
            state.instance_id: state
            for group in _autoscaling().autoscaling_groups.values()
            for state in group.instance_states
        }
        self._serve(now)
        served = _targets()
        found = []
        for reservation in list(_ec2().reservations.values()):
            for one in reservation.instances:
                group = {tag["key"]: tag["value"] for tag in one.get_tags()}.get(_GROUP_TAG)
                if group is None or one.state == "terminated":
                    continue
                state = states.get(one.id)
                found.append(
                    Registered(
                        instance_id=one.id,
                        group=group,
                        az=one.placement.zone,
                        address=one.private_ip,
                        running=one.state == "running",
                        in_service=state is not None
                        and state.lifecycle_state == "InService"
                        and one.id in served,
                        launched_at=one.launch_time.timestamp(),
                    )
                )
        return found

    def _serve(self, now: float) -> None:
        """Register members with their balancer as they come into service, once; and the reverse."""
        for name, group in list(_autoscaling().autoscaling_groups.items()):
            states = {state.instance.id: state for state in group.instance_states}
            for instance_id, state in states.items():
                self._launch(state.instance, state, now)
                if state.lifecycle_state == "InService" and instance_id not in self._serving:
                    self._serving[instance_id] = name
                    for arn in group.target_group_arns:
                        found = _target_groups()[arn]
                        found.targets[instance_id] = {"Id": instance_id, "Port": found.port}
            for instance_id, of in list(self._serving.items()):
                state = states.get(instance_id)
                if of == name and (state is None or state.lifecycle_state != "InService"):
                    del self._serving[instance_id]
                    for arn in group.target_group_arns:
                        _target_groups()[arn].targets.pop(instance_id, None)

    def usual_size(self, group: str) -> int:
        """How many members the group's usual traffic is made for."""
        return DESIRED if group in GROUPS else 1

    def _launch(self, one: Any, state: Any, now: float) -> None:
        if one.id not in self._known:
            one.placement.zone = _ZONES[len(self._known) % len(_ZONES)]
            self._known.add(one.id)
            if self._begun:
                self._launching[one.id] = now
            else:
                one.launch_time -= _AGE
            if state is not None:
                state.availability_zone = one.placement.zone
        began = self._launching.get(one.id)
        if began is None:
            return
        age = (now - began) * self.speed
        if age < _STARTING_S:
            one._state.code, one._state.name = _PENDING
        elif one._state.name == "pending":
            one._state.code, one._state.name = _RUNNING
        if state is not None:
            state.lifecycle_state = "Pending" if age < _IN_SERVICE_S else "InService"
        if age >= _IN_SERVICE_S:
            del self._launching[one.id]


def _active(group: Any) -> list[Any]:
    return [one for one in group.instance_states if one.lifecycle_state != "Standby"]


def instance_state(instance_id: str) -> str | None:
    """EC2's state of an instance, None where there is none."""
    for reservation in list(_ec2().reservations.values()):
        for one in reservation.instances:
            if one.id == instance_id:
                return str(one.state)
    return None


def bounds(group: str) -> tuple[int, int] | None:
    """A group's minimum and maximum, None where there is none."""
    found = _autoscaling().autoscaling_groups.get(group)
    return None if found is None else (found.min_size, found.max_size)


def group_size(group: str) -> int:
    """How many members a group has, 0 where there is none."""
    found = _autoscaling().autoscaling_groups.get(group)
    return 0 if found is None else len(found.instance_states)


def targets_of(arn: str) -> Sequence[str]:
    """Instances that a target group knows."""
    found = _target_groups().get(arn)
    return [] if found is None else list(found.targets)


def _targets() -> set[str]:
    return {one for group in _target_groups().values() for one in group.targets}


def _target_groups() -> Any:
    return get_backend("elbv2")[DEFAULT_ACCOUNT_ID][REGION].target_groups


def _ec2() -> Any:
    return get_backend("ec2")[DEFAULT_ACCOUNT_ID][REGION]


def _autoscaling() -> Any:
    return get_backend("autoscaling")[DEFAULT_ACCOUNT_ID][REGION]
