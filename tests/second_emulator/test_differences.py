"""Where two emulators of AWS differ, docs/actions.md says what each does, and what AWS does."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import Group, target_group_arn
from tests.conftest import Clock
from tests.second_emulator.ministack import Ministack

_PAGE = Path(__file__).parents[2] / "docs" / "actions.md"


class Ours:
    """The emulated AWS of demo and tests."""

    def __init__(self) -> None:
        emulator = Emulator(Core(Clock()))
        self.aws, self.target_group = clients(emulator), target_group_arn("web")
        group = Group("web-asg", 2, 12, 6, target_groups=[self.target_group])
        hosts = [f"i-{number:017x}" for number in range(6)]
        self.members = emulator.world.add_group(group, hosts, 0.0)


class Theirs:
    """ministack."""

    def __init__(self) -> None:
        ministack = Ministack()
        self.aws, self.target_group = ministack.aws, ministack.add_target_group("web")
        self.members = ministack.add_group("web-asg", 6, self.target_group)
        ministack.add_host()


def _interfaces(region: Ours | Theirs) -> str:
    nobody = {"Name": "attachment.instance-id", "Values": ["i-0123456789abcdef0"]}
    answer = region.aws.ec2.describe_network_interfaces(Filters=[nobody])  # type: ignore[list-item] # a dict of the same keys
    return "ignored" if answer["NetworkInterfaces"] else "honoured"


def _targets(aws: Aws, arn: str, member: str) -> list[str]:
    health = aws.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return [
        target["TargetHealth"]["State"] for target in health if target["Target"]["Id"] == member
    ]


def _on_port(region: Ours | Theirs) -> None:
    region.aws.elbv2.register_targets(
        TargetGroupArn=region.target_group, Targets=[{"Id": region.members[0], "Port": 9090}]
    )


def _two_ports(region: Ours | Theirs) -> str:
    _on_port(region)
    return f"{len(_targets(region.aws, region.target_group, region.members[0]))} targets"


def _deregistered(region: Ours | Theirs) -> str:
    region.aws.elbv2.deregister_targets(
        TargetGroupArn=region.target_group, Targets=[{"Id": region.members[0]}]
    )
    return ", ".join(_targets(region.aws, region.target_group, region.members[0])) or "gone"


def _beyond(region: Ours | Theirs) -> str:
    try:
        region.aws.autoscaling.set_desired_capacity(
            AutoScalingGroupName="web-asg", DesiredCapacity=13
        )
    except ClientError:
        return "refused"
    return "accepted"


def _stopped(region: Ours | Theirs) -> str:
    answer = region.aws.ec2.stop_instances(InstanceIds=[region.members[0]])
    return answer["StoppingInstances"][0]["CurrentState"]["Name"]


def _refresh(region: Ours | Theirs) -> str:
    region.aws.autoscaling.start_instance_refresh(AutoScalingGroupName="web-asg")
    answer = region.aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName="web-asg")
    return answer["InstanceRefreshes"][0]["Status"]


_PROBES: Mapping[str, Callable[[Any], str]] = {
    "the filters of DescribeNetworkInterfaces": _interfaces,
    "one instance registered on two ports": _two_ports,
    "a target just deregistered": _deregistered,
    "a capacity beyond the maximum": _beyond,
    "an instance just told to stop": _stopped,
    "a refresh just begun": _refresh,
}


def _rows() -> Mapping[str, tuple[str, ...]]:
    """Of the page's table: what each emulator does, and AWS, by what is tried."""
    row = r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$"
    rows = re.findall(row, _PAGE.read_text(), re.MULTILINE)
    return {row[0]: row[1:] for row in rows if row[0] in _PROBES}


@pytest.mark.parametrize("what", _PROBES)
def test_the_page_says_what_each_does(what: str) -> None:
    """And in none of them does the emulated AWS of demo and tests differ from AWS."""
    ours, theirs, aws = _rows()[what]
    assert _PROBES[what](Ours()) == ours
    assert _PROBES[what](Theirs()) == theirs
    assert aws == ours
