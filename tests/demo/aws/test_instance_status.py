"""The emulated EC2 tells the status of hosts and their events, as its guide says."""

import pytest
from botocore.exceptions import ClientError

from actions.aws.client_set import Aws
from actions.aws.host_status import find_affected, read_host_status
from actions.aws.target_errors import NotActionableError
from demo.aws.clients import clients
from demo.aws.emulator import Emulator
from demo.aws.world import Instance
from tests.conftest import Clock
from tests.emulated_aws import HOST, emulated_aws


@pytest.fixture
def aws(clock: Clock) -> Emulator:
    return emulated_aws(clock)


def _pass(clock: Clock, aws: Emulator, seconds: float) -> None:
    clock.now += seconds
    aws.pass_time()


def _fail(aws: Emulator, check: str) -> None:
    aws.world.instances[HOST].impaired = check
    aws.world.instances[HOST].impaired_at = aws.core.now


def test_a_reboot_stays_on_the_host_and_a_start_leaves_it(aws: Emulator, clock: Clock) -> None:
    _fail(aws, "system")
    began, made = clock(), clients(aws)
    assert read_host_status(made, HOST).impaired_since == began
    made.ec2.reboot_instances(InstanceIds=[HOST])
    _pass(clock, aws, 60)
    assert read_host_status(made, HOST).system == "impaired"
    made.ec2.stop_instances(InstanceIds=[HOST])
    _pass(clock, aws, 60)
    assert read_host_status(made, HOST).system == "not-applicable"
    made.ec2.start_instances(InstanceIds=[HOST])
    _pass(clock, aws, 5)
    assert read_host_status(made, HOST).system == "initializing"
    _pass(clock, aws, 60)
    assert read_host_status(made, HOST).system == "ok"
    assert find_affected(made) == []


@pytest.mark.parametrize(
    ("check", "failed"), [("system", "system"), ("ebs", "attached EBS"), ("instance", "")]
)
def test_each_check_is_told_apart(aws: Emulator, check: str, failed: str) -> None:
    """A reboot may mend the check of the instance, and neither of the others."""
    _fail(aws, check)
    status = read_host_status(clients(aws), HOST)
    assert getattr(status, check) == "impaired"
    assert status.failed_check == failed


def test_an_event_that_is_over_is_none(aws: Emulator, clock: Clock) -> None:
    """EC2 shows it for a week; a start on another host ends it before its time."""
    made = clients(aws)
    aws.statuses.schedule(HOST, "instance-retirement", 86_400)
    (affected,) = find_affected(made)
    (event,) = affected.events
    assert (affected.id, event.code, event.at) == (HOST, "instance-retirement", clock() + 86_400)
    made.ec2.stop_instances(InstanceIds=[HOST])
    _pass(clock, aws, 60)
    made.ec2.start_instances(InstanceIds=[HOST])
    _pass(clock, aws, 60)
    (shown,) = made.ec2.describe_instance_status(InstanceIds=[HOST])["InstanceStatuses"]
    assert shown["Events"][0]["Description"].startswith("[Completed]")
    assert (read_host_status(made, HOST).events, find_affected(made)) == ([], [])
    _pass(clock, aws, 2 * 86_400)
    assert aws.world.instances[HOST].state == "running"


@pytest.mark.parametrize(("root", "state"), [("ebs", "stopped"), ("instance-store", "terminated")])
def test_a_retirement_takes_place(aws: Emulator, clock: Clock, root: str, state: str) -> None:
    aws.world.instances[HOST].root = root
    aws.statuses.schedule(HOST, "instance-retirement", 600)
    _pass(clock, aws, 601)
    assert aws.world.instances[HOST].state == state


def test_many_affected_hosts_come_in_pages(aws: Emulator) -> None:
    ids = [f"i-{4096 + number:017x}" for number in range(250)]
    aws.world.instances |= {name: Instance(name, impaired="system") for name in ids}
    assert [status.id for status in find_affected(clients(aws))] == ids


def test_who_does_not_exist_is_named(aws: Emulator) -> None:
    made: Aws = clients(aws)
    with pytest.raises(NotActionableError, match="does not exist"):
        read_host_status(made, "i-0000000000000dead")
    with pytest.raises(ClientError):
        made.ec2.describe_instance_status(InstanceIds=[HOST], MaxResults=5)
