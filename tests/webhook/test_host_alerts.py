"""What EC2 says of a host reaches the inbox as an alert, and its end as the alert's end."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.aws.clients import clients
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError
from receiver.db.database import database
from receiver.playbooks.loader import load
from receiver.webhook.host_alerts import HostAlerts
from receiver.webhook.inbox import Inbox
from tests.conftest import Clock
from tests.emulated_aws import HOST, emulated_aws

_MEMBER = f"i-{0:017x}"
_ROOT = Path(__file__).parents[2]


@dataclass
class Source:
    aws: Emulator
    clock: Clock
    inbox: Inbox
    alerts: HostAlerts

    def poll(self, after_s: float = 60.0) -> None:
        self.clock.now += after_s
        self.alerts.run_once()

    def fail(self, *instance_ids: str) -> None:
        for instance_id in instance_ids:
            instance = self.aws.world.instances[instance_id]
            instance.impaired, instance.impaired_at = "system", self.clock.now

    def queued(self) -> list[tuple[str, str]]:
        alerts = [queued.alert for queued in self.inbox.queued()]
        return sorted((each.labels["alertname"], each.labels["instance_id"]) for each in alerts)

    def resolved(self) -> list[bool]:
        ids = [queued.id for queued in self.inbox.queued()]
        episodes = self.inbox.episodes_of(ids)
        return [episodes[name].resolved_at is not None for name in ids]


@pytest.fixture
def source(tmp_path: Path, clock: Clock) -> Iterator[Source]:
    aws = emulated_aws(clock)
    inbox = Inbox(database(f"sqlite:///{tmp_path}/inbox.db"), 360, lambda: None)
    inbox.database.migrate("inbox")
    inbox.start()
    playbooks = load(_ROOT / "playbooks")
    alerts = HostAlerts(
        aws_at=lambda _: clients(aws), inbox=inbox, playbooks=playbooks, clock=clock
    )
    yield Source(aws, clock, inbox, alerts)
    inbox.stop()


def test_a_failed_check_is_an_alert_until_it_passes(source: Source, clock: Clock) -> None:
    """It began when EC2 found it; a stopped instance has no check, which is no end."""
    source.poll()
    assert source.queued() == []
    source.fail(HOST, _MEMBER)
    began = clock()
    source.poll()
    assert source.queued() == [("EC2SystemCheckFailed", _MEMBER), ("EC2SystemCheckFailed", HOST)]
    (member,) = [each for each in source.inbox.queued() if each.alert.labels.get("asg")]
    assert (member.alert.labels["asg"], member.alert.starts_at) == ("web", began)
    made = clients(source.aws)
    made.ec2.stop_instances(InstanceIds=[HOST])
    for _ in range(10):
        source.poll()
    assert source.resolved() == [False, False]
    made.ec2.start_instances(InstanceIds=[HOST])
    source.poll(90)
    assert sorted(source.resolved()) == [False, True]


def test_a_scheduled_event_is_an_alert_until_it_is_over(source: Source) -> None:
    """Repeated meanwhile, so that its run may begin when its window opens."""
    source.aws.statuses.schedule(_MEMBER, "instance-retirement", 14 * 86_400)
    source.poll()
    (queued,) = source.inbox.queued()
    assert queued.alert.labels["event_code"] == "instance-retirement"
    for _ in range(20):
        source.poll()
    (episode,) = source.inbox.episodes_of([queued.id]).values()
    assert (episode.repeats, episode.resolved_at) == (20, None)
    source.aws.world.instances[_MEMBER].state = "terminated"
    source.aws.world.instances[_MEMBER].events[0].completed = True
    source.poll()
    assert source.resolved() == [True]


def test_ec2_that_does_not_answer_ends_nothing_and_begins_nothing(source: Source) -> None:
    """An unknown status is no failure, and no recovery."""
    source.fail(HOST)
    source.poll()
    source.aws.world.instances[HOST].impaired = ""
    source.fail(_MEMBER)

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeInstanceStatus":
            raise AwsError("UnauthorizedOperation", status=403)

    source.aws.trouble = trouble
    source.poll()
    assert (source.queued(), source.resolved()) == ([("EC2SystemCheckFailed", HOST)], [False])


def test_who_is_not_opted_in_is_nobodys_alert(source: Source) -> None:
    source.aws.world.instances[HOST].tags.clear()
    source.fail(HOST)
    source.poll()
    assert source.queued() == []


def test_without_a_playbook_for_it_ec2_is_not_asked(source: Source, tmp_path: Path) -> None:
    """No calls that nobody needs."""
    (tmp_path / "one.yaml").write_text((_ROOT / "playbooks/high-cpu.yaml").read_text())
    source.alerts.playbooks = load(tmp_path)
    source.alerts.start()
    source.alerts.stop()
    assert source.aws.operations() == []
