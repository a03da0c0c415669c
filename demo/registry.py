"""What the emulated AWS holds of the fleet, read from moto's own state, and mended there.

moto has a new instance run, and be in service, at once, and puts all of a group into its first
zone; here it is pending first, and the zones take turns, as in AWS.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
from botocore.config import Config
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

    def create(self, endpoint: str) -> None:
        """Make the network, both groups and the target group, through the API itself."""
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
        served = _targets()
        found = []
        for reservation in list(_ec2().reservations.values()):
            for one in reservation.instances:
                group = {tag["key"]: tag["value"] for tag in one.get_tags()}.get(_GROUP_TAG)
                if group is None or one.state == "terminated":
                    continue
                state = states.get(one.id)
                self._launch(one, state, now)
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

    def usual_size(self, group: str) -> int:
        """How many members the group's usual traffic is made for."""
        return DESIRED if group in GROUPS else 1

    def _launch(self, one: Any, state: Any, now: float) -> None:  # noqa: ANN401 moto's models
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
            one._state.code, one._state.name = _PENDING  # noqa: SLF001 moto has no other way
        elif one._state.name == "pending":  # noqa: SLF001 same
            one._state.code, one._state.name = _RUNNING  # noqa: SLF001 same
        if state is not None:
            state.lifecycle_state = "Pending" if age < _IN_SERVICE_S else "InService"
        if age >= _IN_SERVICE_S:
            del self._launching[one.id]


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
    found = get_backend("elbv2")[DEFAULT_ACCOUNT_ID][REGION].target_groups.get(arn)
    return [] if found is None else list(found.targets)


def _targets() -> set[str]:
    groups = get_backend("elbv2")[DEFAULT_ACCOUNT_ID][REGION].target_groups.values()
    return {instance_id for group in groups for instance_id in group.targets}


def _ec2() -> Any:  # noqa: ANN401 moto's backend
    return get_backend("ec2")[DEFAULT_ACCOUNT_ID][REGION]


def _autoscaling() -> Any:  # noqa: ANN401 moto's backend
    return get_backend("autoscaling")[DEFAULT_ACCOUNT_ID][REGION]
