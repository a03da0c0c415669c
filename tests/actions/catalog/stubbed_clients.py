"""Clients whose calls are answered as a test says, in order; any other call fails it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from actions.aws.client_set import Aws
from actions.base import Call
from tests.fake_messenger import FakeMessenger

HOST, OTHER = "i-0123456789abcdef0", "i-0123456789abcdef1"
GROUP = "web-asg"
TOKEN = "01K9ZZZZZZZZZZZZZZZZZZZZZZ/0"
VPC = "vpc-0123456789abcdef0"
_ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
BLUE, GREEN = (
    f"{_ARN}:targetgroup/blue/73e2d6bc24d8a067",
    f"{_ARN}:targetgroup/green/9f1c2d3e4f5a6b7c",
)
RULE = f"{_ARN}:listener-rule/app/web/1a/2b/3c"


@dataclass
class Stubbed:
    """The clients, and what each answers."""

    aws: Aws
    stubs: Mapping[str, Stubber]
    messenger: FakeMessenger

    def answer(
        self,
        client: str,
        method: str,
        answer: Mapping[str, Any],
        expected: Mapping[str, Any] | None = None,
    ) -> None:
        """The next call of the client must be this one, with just these parameters if given."""
        self.stubs[client].add_response(method, dict(answer), expected)

    def fail(self, client: str, method: str, code: str, status: int = 400) -> None:
        self.stubs[client].add_client_error(method, code, http_status_code=status)

    def call(self, target: str = HOST, **params: Any) -> Call:
        return Call(
            aws=self.aws, messenger=self.messenger, target=target, params=params, token=TOKEN
        )

    def instance(
        self, state: str = "running", group: str | None = GROUP, *, quarantined: bool = False
    ) -> None:
        """One description of the instance."""
        tags = [{"Key": "aws:autoscaling:groupName", "Value": group}] if group else []
        if quarantined:
            tags.append({"Key": "smartcloudops:quarantined", "Value": TOKEN})
        instance = {
            "InstanceId": HOST,
            "State": {"Name": state},
            "LaunchTime": datetime(2026, 1, 1, tzinfo=UTC),
            "Placement": {"AvailabilityZone": "eu-west-1a"},
            "Tags": tags,
        }
        self.answer("ec2", "describe_instances", {"Reservations": [{"Instances": [instance]}]})

    def group(self, *members: str, target_groups: tuple[str, ...] = (BLUE, GREEN)) -> None:
        """One description of the group."""
        group = {
            "AutoScalingGroupName": GROUP,
            "MinSize": 1,
            "MaxSize": 9,
            "DesiredCapacity": len(members),
            "DefaultCooldown": 300,
            "AvailabilityZones": ["eu-west-1a"],
            "HealthCheckType": "ELB",
            "CreatedTime": datetime(2026, 1, 1, tzinfo=UTC),
            "TargetGroupARNs": list(target_groups),
            "SuspendedProcesses": [],
            "Tags": [],
            "Instances": [
                {
                    "InstanceId": member,
                    "AvailabilityZone": "eu-west-1a",
                    "LifecycleState": "InService",
                    "HealthStatus": "Healthy",
                    "ProtectedFromScaleIn": False,
                }
                for member in members
            ],
        }
        answer = {"AutoScalingGroups": [group]}
        self.answer("autoscaling", "describe_auto_scaling_groups", answer)

    def health(self, arn: str, **states: str) -> None:
        """One description of a target group; `host` and `other` are the two instances.

        Where a target is `unused`, AWS was asked for it, and says that it is not registered.
        """
        ids = {"host": HOST, "other": OTHER}
        targets = [
            {
                "Target": {"Id": ids[name], "Port": 8080},
                "TargetHealth": {"State": state}
                | ({"Reason": "Target.NotRegistered"} if state == "unused" else {}),
            }
            for name, state in states.items()
        ]
        answer = {"TargetHealthDescriptions": targets}
        self.answer("elbv2", "describe_target_health", answer, {"TargetGroupArn": arn})

    def interfaces(self, *groups: str, vpc: str = VPC) -> None:
        """One description of the instance's only interface."""
        interface = {
            "NetworkInterfaceId": "eni-0123456789abcdef0",
            "VpcId": vpc,
            "Groups": [{"GroupId": group} for group in groups],
        }
        answer = {"NetworkInterfaces": [interface]}
        self.answer("ec2", "describe_network_interfaces", answer)


@pytest.fixture(scope="module")
def clients() -> Iterator[Mapping[str, Any]]:
    """Made once: that takes longer than a test."""
    session = boto3.Session("key", "secret", region_name="eu-west-1")
    once = Config(retries={"total_max_attempts": 1})
    by_name: dict[str, Any] = {
        client.name: session.client(client.name.removesuffix("_once"), config=once)  # type: ignore[call-overload] # names of services
        for client in fields(Aws)
    }
    yield by_name
    for client in by_name.values():
        client.close()


@pytest.fixture
def stubbed(clients: Mapping[str, Any]) -> Iterator[Stubbed]:
    """Each client stubbed; at the end every answer was asked for."""
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    yield Stubbed(aws=Aws(**clients), stubs=stubs, messenger=FakeMessenger())
    for stub in stubs.values():
        stub.deactivate()
        stub.assert_no_pending_responses()
