"""The groups and hosts of an AWS as plain data, behind clients with boto3's methods.

It serves decisions on thousands of snapshots, for which an emulator over HTTP is too slow. It has
the reads of a decision and a few writes. A test can make each call fail before or after its effect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from actions.aws.inventory import OPT_IN_TAG

ACCOUNT = "123456789012"
_TAGS = {OPT_IN_TAG: "true"}


@dataclass
class FrozenHost:
    id: str
    az: str
    launched_at: float
    version: str = "1"
    state: str = "running"
    lifecycle: str = "InService"
    healthy: bool = True
    protected: bool = False
    address: str = ""
    tags: dict[str, str] = field(default_factory=lambda: dict(_TAGS))


@dataclass
class FrozenGroup:
    name: str
    hosts: dict[str, FrozenHost]
    minimum: int
    maximum: int
    desired: int
    target_groups: list[str] = field(default_factory=list)
    refreshes: list[str] = field(default_factory=list)
    suspended: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=lambda: dict(_TAGS))


@dataclass(frozen=True)
class FrozenCall:
    """A call that changed something."""

    at: float
    operation: str
    target: str


@dataclass
class FrozenAws:
    """The AWS; `trouble` gets each operation and its phase ("before", "after"), and may raise."""

    clock: Callable[[], float]
    groups: dict[str, FrozenGroup] = field(default_factory=dict)
    # Hosts outside groups, by id.
    standalone: dict[str, FrozenHost] = field(default_factory=dict)
    calls: list[FrozenCall] = field(default_factory=list)
    events: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    trouble: Callable[[str, str], None] = lambda _, __: None
    on_call: Callable[[FrozenCall], None] = lambda _: None

    def clients(self) -> Aws:
        """Clients of this AWS."""
        ec2 = SimpleNamespace(
            describe_instances=self._describe_instances,
            describe_instance_attribute=self._describe_attribute,
            reboot_instances=self._reboot,
        )
        autoscaling = SimpleNamespace(
            describe_auto_scaling_groups=self._describe_groups,
            describe_instance_refreshes=self._describe_refreshes,
            set_desired_capacity=self._set_desired,
            suspend_processes=self._suspend,
            resume_processes=self._resume,
            terminate_instance_in_auto_scaling_group=self._terminate,
        )
        trail = SimpleNamespace(lookup_events=self._lookup)
        clients: Any = {
            "ec2": ec2,
            "ec2_once": ec2,
            "autoscaling": autoscaling,
            "autoscaling_once": autoscaling,
            "elbv2": SimpleNamespace(describe_target_health=self._describe_health),
            "ssm": SimpleNamespace(),
            "ssm_once": SimpleNamespace(),
            "sns": SimpleNamespace(),
            "cloudtrail": trail,
            "s3": SimpleNamespace(),
        }
        return Aws(**clients)

    def host(self, instance_id: str) -> FrozenHost | None:
        for group in self.groups.values():
            if instance_id in group.hosts:
                return group.hosts[instance_id]
        return self.standalone.get(instance_id)

    def _describe_instances(self, Filters: Sequence[Mapping[str, Any]]) -> Any:
        self.trouble("DescribeInstances", "before")
        hosts = [
            *(
                (host, group.name)
                for group in self.groups.values()
                for host in group.hosts.values()
            ),
            *((host, None) for host in self.standalone.values()),
        ]
        instances = [
            _instance(host, group)
            for host, group in hosts
            if all(_matches(host, condition) for condition in Filters)
        ]
        return {"Reservations": [{"OwnerId": ACCOUNT, "Instances": instances}]}

    def _describe_attribute(self, InstanceId: str, Attribute: str) -> Any:
        self.trouble("DescribeInstanceAttribute", "before")
        del Attribute
        host = self.host(InstanceId)
        if host is None:
            raise refusal("DescribeInstanceAttribute", "InvalidInstanceID.NotFound", 400)
        return {"DisableApiTermination": {"Value": host.protected}}

    def _describe_groups(self, AutoScalingGroupNames: Sequence[str]) -> Any:
        self.trouble("DescribeAutoScalingGroups", "before")
        groups = [self.groups[name] for name in AutoScalingGroupNames if name in self.groups]
        return {"AutoScalingGroups": [_group(group) for group in groups]}

    def _describe_refreshes(self, AutoScalingGroupName: str, MaxRecords: int = 10) -> Any:
        self.trouble("DescribeInstanceRefreshes", "before")
        group = self.groups[AutoScalingGroupName]
        refreshes = [
            {"InstanceRefreshId": f"{number}", "Status": status}
            for number, status in enumerate(group.refreshes[:MaxRecords])
        ]
        return {"InstanceRefreshes": refreshes}

    def _describe_health(self, TargetGroupArn: str) -> Any:
        self.trouble("DescribeTargetHealth", "before")
        states = {True: "healthy", False: "unhealthy"}
        targets = [
            {"Target": {"Id": host.id}, "TargetHealth": {"State": states[host.healthy]}}
            for group in self.groups.values()
            if TargetGroupArn in group.target_groups
            for host in group.hosts.values()
        ]
        return {"TargetHealthDescriptions": targets}

    def _lookup(
        self,
        LookupAttributes: Sequence[Mapping[str, str]],
        MaxResults: int,
        NextToken: str = "0",
        **_: object,
    ) -> Any:
        self.trouble("LookupEvents", "before")
        events = self.events.get(LookupAttributes[0]["AttributeValue"], [])
        first, last = int(NextToken), int(NextToken) + MaxResults
        more = {"NextToken": str(last)} if last < len(events) else {}
        return {"Events": events[first:last], **more}

    def _reboot(self, InstanceIds: Sequence[str]) -> Any:
        return self._change("RebootInstances", InstanceIds[0])

    def _terminate(self, InstanceId: str, ShouldDecrementDesiredCapacity: bool) -> Any:
        del ShouldDecrementDesiredCapacity
        return self._change("TerminateInstanceInAutoScalingGroup", InstanceId)

    def _suspend(self, AutoScalingGroupName: str, ScalingProcesses: Sequence[str]) -> Any:
        self.trouble("SuspendProcesses", "before")
        self.groups[AutoScalingGroupName].suspended |= set(ScalingProcesses)
        return self._change("SuspendProcesses", AutoScalingGroupName, warned=True)

    def _resume(self, AutoScalingGroupName: str, ScalingProcesses: Sequence[str]) -> Any:
        self.trouble("ResumeProcesses", "before")
        self.groups[AutoScalingGroupName].suspended -= set(ScalingProcesses)
        return self._change("ResumeProcesses", AutoScalingGroupName, warned=True)

    def _set_desired(self, AutoScalingGroupName: str, DesiredCapacity: int, **_: object) -> Any:
        self.trouble("SetDesiredCapacity", "before")
        self.groups[AutoScalingGroupName].desired = DesiredCapacity
        return self._change("SetDesiredCapacity", AutoScalingGroupName, warned=True)

    def _change(self, operation: str, target: str, *, warned: bool = False) -> Any:
        if not warned:
            self.trouble(operation, "before")
        call = FrozenCall(self.clock(), operation, target)
        self.calls.append(call)
        self.on_call(call)
        self.trouble(operation, "after")
        return {"Activity": {"ActivityId": "0"}}


def refusal(operation: str, code: str, status: int) -> ClientError:
    """An error as boto3 raises it for an answer of AWS."""
    response: Any = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)


def _matches(host: FrozenHost, condition: Mapping[str, Any]) -> bool:
    values = {
        "instance-id": host.id,
        "private-ip-address": host.address,
        "instance-state-name": host.state,
    }
    tags = {f"tag:{key}": value for key, value in host.tags.items()}
    return (values | tags).get(condition["Name"]) in condition["Values"]


def _instance(host: FrozenHost, group: str | None) -> dict[str, Any]:
    tags = host.tags if group is None else {**host.tags, "aws:autoscaling:groupName": group}
    return {
        "InstanceId": host.id,
        "State": {"Name": host.state},
        "LaunchTime": datetime.fromtimestamp(host.launched_at, UTC),
        "Placement": {"AvailabilityZone": host.az},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


def _group(group: FrozenGroup) -> dict[str, Any]:
    return {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup",
        "MinSize": group.minimum,
        "MaxSize": group.maximum,
        "DesiredCapacity": group.desired,
        "TargetGroupARNs": group.target_groups,
        "SuspendedProcesses": [{"ProcessName": name} for name in sorted(group.suspended)],
        "Tags": [{"Key": key, "Value": value} for key, value in group.tags.items()],
        "Instances": [
            {
                "InstanceId": host.id,
                "AvailabilityZone": host.az,
                "LifecycleState": host.lifecycle,
                "HealthStatus": "Healthy" if host.healthy else "Unhealthy",
                "ProtectedFromScaleIn": False,
                "LaunchTemplate": {"Version": host.version},
            }
            for host in group.hosts.values()
        ],
    }
