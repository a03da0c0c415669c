"""What people did about the alerts of runs that did nothing, as CloudTrail shows it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from actions.aws.client_set import Aws
from demo.aws.clients import clients
from models.inference.verdict import Answer as VerdictAnswer
from receiver.db.tables import comparisons
from receiver.playbooks.loader import load
from receiver.reports.agreement import agreement
from receiver.runs import feedback
from receiver.runs.model import FeedbackMark, Run
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Mode
from receiver.track_record.habits import habits
from receiver.track_record.incidents import Answer, agreed
from receiver.track_record.judged_runs import judged_runs
from receiver.track_record.review import Review
from tests.end_to_end.whole_fixtures import Whole, verdict

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps: [{action: reboot_instance}]
verify: {expr: recovered, for: 10s, timeout: 60s}
"""
_HOUR_S = 3_600.0


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK, mode=Mode.OBSERVE)
    yield whole
    whole.close()


def _people(whole: Whole) -> Aws:
    """A person's clients: another access key is another user."""
    return clients(whole.aws, "alice")


def _review(whole: Whole) -> dict[str, tuple[str, str | None]]:
    """The comparisons by run, once CloudTrail is late enough."""
    (review,) = (task for task in whole.service.leader_tasks if isinstance(task, Review))
    review.run_once()
    with whole.state.read() as connection:
        rows = connection.execute(select(comparisons)).all()
    return {row.run_id: (row.agreement, row.action) for row in rows}


def _fires(whole: Whole, target: str, **labels: str) -> Run:
    """The alert comes, and its run ends without an act."""
    own = {"alertname": "HighCPU", "instance_id": target, "asg": "web-asg"}
    whole.deliver_labels(own | labels)
    whole.work()
    run = whole.runs()[0]
    assert run.state.ended
    whole.now += 60
    return run


def _ends(whole: Whole, target: str, **labels: str) -> None:
    whole.now += 60
    own = {"alertname": "HighCPU", "instance_id": target, "asg": "web-asg"}
    whole.deliver_labels(own | labels, firing=False)
    whole.now += 2 * _HOUR_S


def _event(
    whole: Whole,
    target: str,
    agent: str,
    identity: dict[str, Any],
    operation: str = "RebootInstances",
) -> dict[str, Any]:
    """A call on the target, as CloudTrail shows it."""
    detail = {
        "eventName": operation,
        "eventTime": rfc3339(whole.now),
        "userAgent": agent,
        "userIdentity": identity,
        "requestParameters": {"instancesSet": {"items": [{"instanceId": target}]}},
    }
    return {
        "EventId": agent,
        "EventName": operation,
        "EventTime": whole.now,
        "ReadOnly": "false",
        "CloudTrailEvent": json.dumps(detail),
    }


def test_the_matrix_equals_the_script(whole: Whole) -> None:
    """Five people's answers, and a fault of which nothing can be told."""
    people, hosts = _people(whole), whole.group()
    script: dict[str, tuple[str, str | None]] = {}

    same = _fires(whole, hosts[0])
    people.ec2.reboot_instances(InstanceIds=[hosts[0]])
    _ends(whole, hosts[0])
    script[same.id] = ("agree", "reboot_instance")

    heavier = _fires(whole, hosts[1])
    people.autoscaling.enter_standby(
        AutoScalingGroupName="web-asg",
        InstanceIds=[hosts[1]],
        ShouldDecrementDesiredCapacity=True,
    )
    _ends(whole, hosts[1])
    people.autoscaling.exit_standby(AutoScalingGroupName="web-asg", InstanceIds=[hosts[1]])
    whole.now += _HOUR_S
    whole.aws.pass_time()
    script[heavier.id] = ("heavier", "enter_standby")

    lighter = _fires(whole, hosts[2])
    people.ec2.terminate_instances(InstanceIds=[hosts[2]])
    _ends(whole, hosts[2])
    whole.aws.pass_time()
    script[lighter.id] = ("lighter", "replace_instance")

    # The autoscaler, Terraform and the service itself are no people; a read changes nothing.
    needless = _fires(whole, hosts[3])
    whole.aws.events["false"] = [
        _event(whole, hosts[3], "autoscaling.amazonaws.com", {"type": "AWSService"}),
        _event(whole, hosts[3], "APN/1.0 HashiCorp/1.0 Terraform/1.9", {"type": "IAMUser"}),
        _event(whole, hosts[3], "Boto3 smartcloudops-run/01X", {"type": "IAMUser"}),
    ]
    people.ec2.describe_instances(InstanceIds=[hosts[3]])
    _ends(whole, hosts[3])
    script[needless.id] = ("needless", None)

    whole.verdicts[hosts[4]] = verdict(VerdictAnswer.REFUTED)
    missed = _fires(whole, hosts[4])
    people.ec2.reboot_instances(InstanceIds=[hosts[4]])
    _ends(whole, hosts[4])
    script[missed.id] = ("missed", "reboot_instance")

    # Before CloudTrail's delay is over, and while an alert fires, nothing is said.
    looked = _fires(whole, hosts[5])
    assert _review(whole) == script
    # A session on the host does not tell what the person did there.
    session = _event(whole, hosts[5], "aws-cli", {"type": "IAMUser"}, "StartSession")
    whole.aws.events["false"].append(session)
    _ends(whole, hosts[5])
    script[looked.id] = ("open", None)
    assert _review(whole) == script

    with whole.state.read() as connection:
        record = agreed(judged_runs(connection, since=0.0), vouched_max=5)
        (row,) = agreement(connection, since=0.0)
    expected = {"agree": 1, "heavier": 1, "lighter": 1, "needless": 1, "missed": 1}
    assert record.answers == expected
    assert (record.share.right, record.share.incidents) == (1, 4)
    assert (round(record.share.low, 3), round(record.share.high, 3)) == (0.046, 0.699)
    assert record.services.keys() == {"web-asg"}
    assert (row["playbook"], row["service"], row["right"]) == ("high-cpu", "web-asg", 1)
    assert {answer: count for answer, count in row["answers"].items() if count} == expected


def test_a_persons_mark_outranks_what_people_did(whole: Whole) -> None:
    host = whole.group()[0]
    run = _fires(whole, host)
    _ends(whole, host)
    assert _review(whole)[run.id] == ("needless", None)
    mark = FeedbackMark(right=True, by="alice", comment="it would have helped", at=whole.now)
    with whole.state.write() as connection:
        feedback.set_feedback(connection, run, mark)
        (judged,) = judged_runs(connection, since=0.0, playbook="high-cpu")
    assert judged.answer is Answer.RIGHT


def test_a_region_too_busy_to_read_is_asked_about_each_name(whole: Whole) -> None:
    """Of a name that has too many events itself nothing can be told, and it is not asked again."""
    hosts = whole.group()
    first = _fires(whole, hosts[0])
    _people(whole).ec2.reboot_instances(InstanceIds=[hosts[0]])
    _ends(whole, hosts[0])
    second = _fires(whole, hosts[1])
    busy = _event(whole, "i-another", "aws-cli", {"type": "IAMUser"})
    whole.aws.events["false"] = [busy | {"EventId": str(number)} for number in range(1_001)]
    _ends(whole, hosts[1])
    about = _event(whole, hosts[1], "aws-cli", {"type": "IAMUser"})
    whole.aws.events[hosts[1]] = [about | {"EventId": f"e{number}"} for number in range(1_001)]
    # A task that stops waits for nothing between two pages, and ends after each look.
    (review,) = (task for task in whole.service.leader_tasks if isinstance(task, Review))
    review.stop()
    review.run_once()
    assert _review(whole) == {
        first.id: ("agree", "reboot_instance"),
        second.id: ("open", None),
    }


def test_what_only_a_program_does_is_named_by_a_setting(tmp_path: Path) -> None:
    """A role of the night shift's scripts is told from people by a pattern."""
    programs = {"programs": "*:user/night-*"}
    whole = Whole(tmp_path, playbook=_PLAYBOOK, mode=Mode.OBSERVE, settings=programs)
    host = whole.group()[0]
    run = _fires(whole, host)
    clients(whole.aws, "night-shift").ec2.reboot_instances(InstanceIds=[host])
    _ends(whole, host)
    assert _review(whole)[run.id] == ("needless", None)
    whole.close()


def test_a_habit_becomes_a_draft(whole: Whole, tmp_path: Path) -> None:
    """What people do on three days about an alert without a playbook is the next one to write."""
    host, labels = whole.group()[0], {"alertname": 'Queue "Stuck"'}
    for _ in range(3):
        _fires(whole, host, **labels)
        _people(whole).ec2.reboot_instances(InstanceIds=[host])
        _ends(whole, host, **labels)
        _review(whole)
        with whole.state.read() as connection:
            found = habits(connection, since=0.0)
        whole.now += 86_400
    (habit,) = found
    assert (habit.alertname, habit.action, habit.days, habit.targets) == (
        'Queue "Stuck"',
        "reboot_instance",
        3,
        1,
    )
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "queue-stuck.yaml").write_text(habit.draft)
    (playbook,) = load(tmp_path / "drafts").matching(labels)
    assert (playbook.name, playbook.mode) == ("queue-stuck", Mode.OBSERVE)
