"""The emulated AWS takes its time and says no, as AWS' guides say."""

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from werkzeug import Request, Response

from actions.aws.client_set import Aws
from demo.aws.clients import clients
from demo.aws.core import Core, SteadyHosts
from demo.aws.emulator import Emulator
from demo.aws.hardness import CALM, REAL, Hardness, harsh
from demo.aws.world import Group, target_group_arn
from tests.conftest import Clock

_ARN = target_group_arn("web")
_HOSTS = [f"i-{number:017x}" for number in range(6)]
Region = tuple[Emulator, Aws, Group]


@pytest.fixture
def region(clock: Clock) -> Callable[..., Region]:
    def begin(hardness: Hardness = CALM, hosts: int = 6, **group: object) -> Region:
        aws = Emulator(Core(clock, REAL, hardness))
        made = Group("web", 2, 12, hosts, target_groups=[_ARN], **group)  # type: ignore[arg-type] # its fields
        made.desired = hosts * (made.weight or 1)
        aws.world.add_group(made, _HOSTS[:hosts], 0.0)
        return aws, clients(aws), made

    return begin


def test_a_query_may_come_by_get(region: Callable[..., Region]) -> None:
    """As VictoriaMetrics' discovery sends it."""
    emulator, _, _ = region()
    scope = "AWS4-HMAC-SHA256 Credential=a/20270101/us-east-1/ec2/aws4_request"
    request = Request.from_values(
        "/?Action=DescribeInstances&Version=2016-11-15", headers={"Authorization": scope}
    )
    answer = Response.from_app(emulator, request.environ)
    assert answer.status_code == 200
    assert all(host in answer.get_data(as_text=True) for host in _HOSTS)


_HEALS = Hardness(heals=True)


def _health(aws: Aws) -> dict[str, str]:
    targets = aws.elbv2.describe_target_health(TargetGroupArn=_ARN)["TargetHealthDescriptions"]
    return {target["Target"]["Id"]: target["TargetHealth"]["State"] for target in targets}


def _pass(clock: Clock, aws: Emulator, seconds: float) -> None:
    clock.now += seconds
    aws.pass_time()


def test_a_target_drains_for_the_whole_delay(region: Callable[..., Region], clock: Clock) -> None:
    _, aws, _ = region()
    aws.elbv2.deregister_targets(TargetGroupArn=_ARN, Targets=[{"Id": _HOSTS[0]}])
    (delay,) = aws.elbv2.describe_target_group_attributes(TargetGroupArn=_ARN)["Attributes"]
    clock.now += float(delay["Value"]) - 1
    assert _health(aws)[_HOSTS[0]] == "draining"
    clock.now += 1
    assert _HOSTS[0] not in _health(aws)


def test_a_port_override_is_named_or_nothing_happens(region: Callable[..., Region]) -> None:
    _, aws, _ = region()
    aws.elbv2.register_targets(TargetGroupArn=_ARN, Targets=[{"Id": _HOSTS[0], "Port": 9000}])
    aws.elbv2.deregister_targets(TargetGroupArn=_ARN, Targets=[{"Id": _HOSTS[0]}])
    targets = aws.elbv2.describe_target_health(TargetGroupArn=_ARN)["TargetHealthDescriptions"]
    states = {
        target["Target"]["Port"]: target["TargetHealth"]["State"]
        for target in targets
        if target["Target"]["Id"] == _HOSTS[0]
    }
    assert states == {8080: "draining", 9000: "initial"}


@pytest.mark.parametrize(("checks", "replaced"), [("EC2", False), ("ELB", True)])
def test_a_reboot_is_replaced_under_elb_health_checks(
    region: Callable[..., Region], clock: Clock, checks: str, *, replaced: bool
) -> None:
    emulator, aws, group = region(_HEALS, checks=checks)
    clock.now += 30
    aws.ec2.reboot_instances(InstanceIds=[_HOSTS[0]])
    _pass(clock, emulator, 40)
    assert (group.members[_HOSTS[0]].lifecycle == "Terminating") is replaced


def test_what_was_unhealthy_is_replaced_on_resuming(
    region: Callable[..., Region], clock: Clock
) -> None:
    emulator, aws, group = region(_HEALS)
    names = {"AutoScalingGroupName": "web"}
    aws.autoscaling.suspend_processes(**names, ScalingProcesses=["ReplaceUnhealthy"])
    aws.ec2.stop_instances(InstanceIds=[_HOSTS[0]])
    _pass(clock, emulator, 300)
    assert group.members[_HOSTS[0]].lifecycle == "InService"
    aws.autoscaling.resume_processes(**names, ScalingProcesses=["ReplaceUnhealthy"])
    assert group.members[_HOSTS[0]].lifecycle == "Terminating"


def test_leaving_the_balance_costs_a_healthy_sibling(
    region: Callable[..., Region], clock: Clock
) -> None:
    emulator, aws, group = region(_HEALS, hosts=5)
    aws.autoscaling.enter_standby(
        AutoScalingGroupName="web", InstanceIds=[_HOSTS[2]], ShouldDecrementDesiredCapacity=True
    )
    for _ in range(20):
        _pass(clock, emulator, 60)
    siblings = set(_HOSTS[:5]) - {_HOSTS[2]}
    assert len(siblings - group.members.keys()) == 1
    assert group.members[_HOSTS[2]].lifecycle == "Standby"


def test_a_hung_system_is_reset_after_four_minutes(
    region: Callable[..., Region], clock: Clock
) -> None:
    emulator, aws, _ = region()
    instance = emulator.world.instances[_HOSTS[0]]
    instance.hung = True
    aws.ec2.reboot_instances(InstanceIds=[_HOSTS[0]])
    _pass(clock, emulator, 239)
    assert instance.boots == 0
    _pass(clock, emulator, 1)
    assert (instance.boots, instance.hung) == (1, False)


def test_a_describe_lags_behind(region: Callable[..., Region], clock: Clock) -> None:
    _, aws, _ = region(Hardness(lag_s=5))
    clock.now += 100
    aws.ec2.stop_instances(InstanceIds=[_HOSTS[0]])

    def state() -> str:
        answer = aws.ec2.describe_instances(InstanceIds=[_HOSTS[0]])
        return answer["Reservations"][0]["Instances"][0]["State"]["Name"]

    assert state() == "running"
    clock.now += 6
    assert state() == "stopping"


def test_a_burst_is_throttled_and_refilled(region: Callable[..., Region], clock: Clock) -> None:
    _, aws, _ = region(Hardness(burst=3, refill=1))
    for _ in range(3):
        aws.ec2.describe_instances()
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        aws.ec2.describe_instances()
    clock.now += 1
    aws.ec2.describe_instances()


@pytest.mark.parametrize(
    ("hardness", "after", "status"),
    [
        (CALM, 20, ("Success", "Success")),
        (Hardness(delayed=1), 20, ("Delayed", "Delayed")),
        (Hardness(delayed=1), 400, ("Success", "Success")),
        (Hardness(failing=1), 20, ("Failed", "Failed")),
    ],
)
def test_a_command_may_come_late(
    region: Callable[..., Region], clock: Clock, hardness: Hardness, after: float, status: object
) -> None:
    _, aws, _ = region(hardness)
    sent = aws.ssm.send_command(
        InstanceIds=[_HOSTS[0]], DocumentName="SmartCloudOps-A", TimeoutSeconds=60
    )
    clock.now += after
    answer = aws.ssm.get_command_invocation(
        CommandId=sent["Command"]["CommandId"], InstanceId=_HOSTS[0]
    )
    assert (answer["Status"], answer["StatusDetails"]) == status


def test_a_command_for_a_silent_agent_expires(region: Callable[..., Region], clock: Clock) -> None:
    emulator, aws, _ = region()
    emulator.world.instances[_HOSTS[0]].agent = "ConnectionLost"
    sent = aws.ssm.send_command(
        InstanceIds=[_HOSTS[0]], DocumentName="SmartCloudOps-A", TimeoutSeconds=60
    )
    clock.now += 361
    answer = aws.ssm.get_command_invocation(
        CommandId=sent["Command"]["CommandId"], InstanceId=_HOSTS[0]
    )
    assert (answer["Status"], answer["StatusDetails"]) == ("TimedOut", "DeliveryTimedOut")


class _Stuck(SteadyHosts):
    """A host on which no document ends."""

    def document_result(self, command: str, instance_id: str, document: str) -> None:
        del command, instance_id, document


def test_a_document_that_does_not_end_times_out(
    region: Callable[..., Region], clock: Clock
) -> None:
    """As such, after the time that it may take, and not as one that was never delivered."""
    emulator, aws, _ = region()
    emulator.core.hosts = _Stuck()
    sent = aws.ssm.send_command(
        InstanceIds=[_HOSTS[0]], DocumentName="SmartCloudOps-A", TimeoutSeconds=600
    )

    def status() -> tuple[str, str]:
        answer = aws.ssm.get_command_invocation(
            CommandId=sent["Command"]["CommandId"], InstanceId=_HOSTS[0]
        )
        return answer["Status"], answer["StatusDetails"]

    clock.now += 299
    assert status() == ("InProgress", "InProgress")
    clock.now += 5
    assert status() == ("TimedOut", "ExecutionTimedOut")


def test_capacity_is_counted_in_weights(region: Callable[..., Region], clock: Clock) -> None:
    emulator, aws, group = region(hosts=3, weight=4)
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=8)
    _pass(clock, emulator, 1_000)
    assert (group.capacity(), len(group.members)) == (8, 2)


@pytest.mark.parametrize("process", ["Launch"])
def test_a_suspended_process_bites(region: Callable[..., Region], process: str) -> None:
    _, aws, group = region()
    group.suspended = {process}
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=8)
    assert len(group.members) == 6
    group.suspended.clear()
    aws.autoscaling.resume_processes(AutoScalingGroupName="web", ScalingProcesses=["Launch"])
    assert len(group.members) == 8


def test_a_region_without_capacity_launches_nothing(region: Callable[..., Region]) -> None:
    _, aws, group = region(Hardness(no_capacity=1))
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=8)
    answer = aws.autoscaling.describe_scaling_activities(AutoScalingGroupName="web")
    assert len(group.members) == 6
    assert answer["Activities"][0]["StatusCode"] == "Failed"


def test_a_hardness_follows_from_its_seed() -> None:
    assert harsh(1) == harsh(1)
    assert len({harsh(seed) for seed in range(20)}) > 10
