"""A security group before a real machine: which connections it ends, and which it lets go on."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from actions.aws.client_set import Aws
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import USUAL_SECURITY_GROUP, SecurityGroup
from demo.machines import image, programs
from demo.machines.fleet import MachineFleet
from demo.stack.debian import ToolsError

_GROUP, _CLOSED, _ALL = "web-asg", "sg-closed", "sg-all"
_EVERYBODY = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
_OK, _FAILED, _PATIENCE_S = 200, 500, 60


@pytest.fixture(scope="module")
def fleet() -> Iterator[MachineFleet]:
    try:
        image.require(programs.require())
    except ToolsError as error:
        pytest.skip(f"user-mode Linux does not start: {error}")
    fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=1, sizes={_GROUP: 1})
    fleet.aws.world.security_groups |= {
        _CLOSED: SecurityGroup(_CLOSED),
        _ALL: SecurityGroup(_ALL, ingress=_EVERYBODY, egress=_EVERYBODY),
    }
    serving = threading.Thread(target=fleet.serve)
    serving.start()
    try:
        fleet.begin(time.time())
        yield fleet
    finally:
        fleet.stop()
        serving.join()


@pytest.fixture(scope="module")
def aws(fleet: MachineFleet) -> Aws:
    return clients(fleet.aws)


def _let_in(aws: Aws, group: str) -> str:
    """Give the machine this security group; its instance id."""
    (interface,) = aws.ec2.describe_network_interfaces()["NetworkInterfaces"]
    aws.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=interface["NetworkInterfaceId"], Groups=[group]
    )
    return str(interface["Attachment"]["InstanceId"])


def _status(fleet: MachineFleet, path: str) -> int:
    with httpx.Client(trust_env=False, timeout=20) as http:
        return http.get(fleet.url(_GROUP) + path).status_code


def _await_ok(fleet: MachineFleet) -> None:
    until = time.monotonic() + _PATIENCE_S
    while _status(fleet, "/page/1") != _OK:
        assert time.monotonic() < until, "the machine does not serve"
        time.sleep(0.5)


def test_a_tracked_connection_survives_its_rule_and_an_untracked_one_does_not(
    fleet: MachineFleet, aws: Aws
) -> None:
    """No new one gets through either way, and EC2's own status check still passes."""
    with ThreadPoolExecutor() as pool:
        _await_ok(fleet)
        held = pool.submit(_status, fleet, "/hold/5")
        time.sleep(1)
        instance_id = _let_in(aws, _CLOSED)
        time.sleep(1)
        assert _status(fleet, "/page/2") >= _FAILED
        assert held.result() == _OK
        checked = aws.ec2.describe_instance_status(InstanceIds=[instance_id])
        assert checked["InstanceStatuses"][0]["InstanceStatus"]["Status"] == "ok"
        _let_in(aws, _ALL)
        _await_ok(fleet)
        held = pool.submit(_status, fleet, "/hold/5")
        time.sleep(1)
        _let_in(aws, _CLOSED)
        assert held.result() >= _FAILED
        _let_in(aws, USUAL_SECURITY_GROUP)
        _await_ok(fleet)
