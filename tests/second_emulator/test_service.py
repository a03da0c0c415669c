"""The whole service on an emulator of AWS that nobody here wrote."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actions.aws.client_set import Aws
from actions.reasons import Reason
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole, verdict
from tests.second_emulator.ministack import Ministack

_GROUP = "web-asg"
_REBOOTED = ["SendCommand", "RebootInstances"]
_RESTART = """
name: service-down
match: ['alertname="ServiceDown"']
mode: auto
cooldown: 5m
steps:
  - action: restart_service
    params: {service: web}
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@dataclass
class OnMinistack(Whole):
    """Its group has six members behind a target group."""

    ministack: Ministack = field(default_factory=Ministack)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.target_group = self.ministack.add_target_group("web")
        self.members = self.ministack.add_group(_GROUP, 6, self.target_group)
        self.ministack.writes.clear()

    def clients(self) -> Aws:
        return self.ministack.aws


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[OnMinistack]:
    whole = OnMinistack(tmp_path)
    yield whole
    whole.close()


def test_an_ill_host_is_rebooted(whole: OnMinistack) -> None:
    """After a command has captured what the reboot would destroy."""
    whole.deliver(whole.members[0])
    whole.pass_time(400)
    assert (whole.only().state, whole.ministack.writes) == (State.SUCCEEDED, _REBOOTED)


def test_a_surge_is_met(whole: OnMinistack) -> None:
    for member in whole.members:
        whole.verdicts[member] = verdict(surging=True)
    whole.deliver(whole.members[0])
    whole.pass_time(400)
    assert (whole.only().state, len(whole.ministack.members(_GROUP))) == (State.SUCCEEDED, 9)


def test_what_it_lacks_leads_to_a_person(whole: OnMinistack) -> None:
    """The reboot did not help, and the replacement is refused by name."""
    whole.recovered = "0"
    whole.deliver(whole.members[0])
    whole.pass_time(900)
    run = whole.only()
    assert (run.state, whole.ministack.writes) == (
        State.FAILED,
        [*_REBOOTED, "SendCommand"],
    )
    assert "replace_instance never ran: InvalidAction; a person is needed" in (run.outcome or "")


def test_a_target_is_found_by_its_private_address(tmp_path: Path) -> None:
    whole = OnMinistack(tmp_path, playbook=_RESTART)
    instances = whole.ministack.aws.ec2.describe_instances(InstanceIds=[whole.members[0]])
    address = instances["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
    whole.deliver_labels({"alertname": "ServiceDown", "instance": f"{address}:9100"})
    whole.pass_time(400)
    run = whole.only()
    assert (run.state, run.target) == (State.SUCCEEDED, whole.members[0])
    assert set(whole.ministack.writes) == {"SendCommand"}
    whole.close()


@pytest.mark.parametrize(
    ("instance_id", "reason"),
    [
        ("i-0123456789abcdef0", Reason.TARGET_UNPROVEN),
        ("nobody", Reason.NO_TARGET),
    ],
)
def test_a_stranger_is_left_alone(whole: OnMinistack, instance_id: str, reason: Reason) -> None:
    whole.deliver(instance_id)
    whole.pass_time(60)
    run = whole.only()
    assert (run.state, run.refusal, whole.ministack.writes) == (State.REFUSED, reason, [])
