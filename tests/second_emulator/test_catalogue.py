"""The catalogue on an emulator of AWS that nobody here wrote, as far as it has the calls."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ulid import ULID

from actions.aws.causes import Cause
from actions.base import Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.execution import claims
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import ReversedStep, Step
from actions.step_key import StepKey, StepKind
from receiver.db.database import Database
from tests.conftest import Clock
from tests.executors import executor
from tests.second_emulator.ministack import Ministack

_GROUP = "web-asg"
_PAGE = Path(__file__).parents[2] / "docs" / "actions.md"


@dataclass
class Region:
    """A group of six behind a target group, and a host of no group."""

    state: Database
    clock: Clock
    aws: Ministack = field(default_factory=Ministack)

    def __post_init__(self) -> None:
        self.target_group = self.aws.add_target_group("web")
        self.members = self.aws.add_group(_GROUP, 6, self.target_group)
        self.host = self.aws.add_host()
        self.acting = executor(self.aws.aws, self.state.write, self.clock)

    def step(self, action: str, target: str, **params: Any) -> Step:
        return Step(
            run_id=str(ULID()),
            key=StepKey(StepKind.LADDER, 0),
            action=CATALOG[action],
            target=target,
            params=params,
            playbook="test",
            group=_GROUP if target in self.members else "",
            cooldown_s=0,
            bounds=Bounds(percent=50, min_healthy=1),
        )

    def execute(self, step: Step) -> Intent:
        intent = self.acting.execute(step)
        assert isinstance(intent, Intent), intent
        with self.state.write() as connection:
            claims.release(connection, step.run_id)
        return intent

    def do(self, action: str, target: str, **params: Any) -> Intent:
        return self.execute(self.step(action, target, **params))

    def undo(self, intent: Intent) -> Intent:
        """As the end of its run does."""
        action = CATALOG[intent.action]
        undo = action.undo(self.acting.call(intent))
        assert undo is not None
        reversal = self.step(undo.action, intent.target, **undo.params)
        return self.execute(
            Step(
                **vars(reversal)
                | {"key": intent.step.reversal(), "reverses": ReversedStep(action, intent)}
            )
        )

    def is_done(self, intent: Intent) -> bool:
        return CATALOG[intent.action].progress(self.acting.call(intent)) is Progress.DONE

    def desired(self) -> int:
        return len(self.aws.members(_GROUP))

    def targets(self) -> set[str]:
        health = self.aws.aws.elbv2.describe_target_health(TargetGroupArn=self.target_group)
        return {target["Target"]["Id"] for target in health["TargetHealthDescriptions"]}


@pytest.fixture
def region(state: Database, clock: Clock) -> Region:
    return Region(state, clock)


_COMMANDS = {
    "restart_service": {"service": "web"},
    "run_document": {"document": "SmartCloudOps-CleanDisk"},
}


@pytest.mark.parametrize("action", _COMMANDS)
def test_a_command_is_sent_and_seen_to_end(region: Region, action: str) -> None:
    intent = region.do(action, region.members[0], **_COMMANDS[action])
    assert (intent.outcome, region.aws.writes[-1]) == (Outcome.CHANGED, "SendCommand")
    assert region.is_done(intent)


def test_a_reboot_is_sent_once(region: Region) -> None:
    intent = region.do("reboot_instance", region.members[0])
    assert (intent.outcome, region.aws.writes[-1]) == (Outcome.CHANGED, "RebootInstances")


def test_a_host_is_stopped_and_started(region: Region) -> None:
    stopped = region.do("stop_instance", region.host)
    assert (stopped.outcome, region.aws.state(region.host)) == (Outcome.CHANGED, "stopped")
    assert region.is_done(stopped)
    assert region.undo(stopped).outcome is Outcome.CHANGED
    assert region.aws.state(region.host) == "running"


def test_a_member_that_its_group_would_replace_is_not_stopped(region: Region) -> None:
    intent = region.do("stop_instance", region.members[0])
    assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)
    assert "suspend HealthCheck and ReplaceUnhealthy first" in (intent.error or "")


@pytest.mark.parametrize(
    ("action", "change", "after"),
    [("set_desired_capacity", "+50%", 9), ("scale_in", "-1", 5)],
)
def test_a_capacity_is_changed_and_given_back(
    region: Region, action: str, change: str, after: int
) -> None:
    intent = region.do(action, _GROUP, desired=change)
    assert (intent.outcome, region.desired(), region.is_done(intent)) == (
        Outcome.CHANGED,
        after,
        True,
    )
    assert region.undo(intent).outcome is Outcome.CHANGED
    assert region.desired() == 6


def test_a_target_is_taken_out_and_put_back(region: Region) -> None:
    target = region.members[0]
    intent = region.do("deregister_target", target)
    assert (intent.outcome, target in region.targets()) == (Outcome.CHANGED, False)
    assert region.is_done(intent)
    assert region.undo(intent).outcome is Outcome.CHANGED
    assert region.targets() == set(region.members)


def test_a_refresh_is_started(region: Region) -> None:
    """There it is over at once."""
    intent = region.do("start_instance_refresh", _GROUP)
    assert (intent.outcome, region.is_done(intent)) == (Outcome.CHANGED, True)
    refused = region.do("cancel_instance_refresh", _GROUP)
    assert (refused.outcome, refused.dispatched_at) in {
        (Outcome.NOOP, None),
        (Outcome.FAILED, None),
    }


def test_people_are_paged(region: Region) -> None:
    topic = region.aws.aws.sns.create_topic(Name="oncall")["TopicArn"]
    intent = region.do("page", _GROUP, topic=topic, message="it did not recover")
    assert (intent.outcome, region.aws.writes[-1]) == (Outcome.CHANGED, "Publish")


def test_a_rule_without_weights_is_refused(region: Region) -> None:
    """It forgets them, and what was there could not be given back."""
    elbv2, arn = region.aws.aws.elbv2, region.target_group
    subnets = [subnet["SubnetId"] for subnet in region.aws.aws.ec2.describe_subnets()["Subnets"]]
    (balancer,) = elbv2.create_load_balancer(Name="web", Subnets=subnets[:2])["LoadBalancers"]
    groups = [{"TargetGroupArn": arn, "Weight": 100}]
    forward: Any = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
    (listener,) = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[forward],
    )["Listeners"]
    (rule,) = elbv2.create_rule(
        ListenerArn=listener["ListenerArn"],
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/"]}],
        Actions=[forward],
    )["Rules"]
    intent = region.do("shift_traffic", _GROUP, rule=rule["RuleArn"], weights={arn: 100})
    assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)
    assert "ModifyRule" not in region.aws.writes


_LACKED: dict[str, Callable[[Region], dict[str, Any]]] = {
    "replace_instance": lambda _: {},
    "enter_standby": lambda _: {},
    "detach_instance": lambda _: {},
    "suspend_processes": lambda _: {"processes": ["AZRebalance"]},
}


@pytest.mark.parametrize("action", _LACKED)
def test_a_call_that_it_lacks_changed_nothing(region: Region, action: str) -> None:
    """Told by name, and no reason for a heavier step."""
    target = _GROUP if action == "suspend_processes" else region.members[0]
    before = list(region.aws.writes)
    intent = region.do(action, target, **_LACKED[action](region))
    assert (intent.outcome, intent.error) == (Outcome.FAILED, "InvalidAction")
    assert (intent.cause, region.aws.writes) == (Cause.REQUEST, before)


def test_a_host_that_cannot_be_cut_off_is_not_told_as_contained(region: Region) -> None:
    ec2 = region.aws.aws.ec2
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="none", Description="none", VpcId=network)
    permissions: Any = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=permissions)
    intent = region.do("quarantine_instance", region.host, security_group=group["GroupId"])
    assert intent.outcome is not Outcome.CHANGED
    assert "smartcloudops:quarantined" not in str(ec2.describe_instances(InstanceIds=[region.host]))


def test_nobody_else_is_taken_for_the_target(region: Region) -> None:
    intent = region.do("reboot_instance", "i-0123456789abcdef0")
    assert (intent.outcome, intent.error) == (
        Outcome.FAILED,
        "instance i-0123456789abcdef0 does not exist",
    )


def test_what_it_lacks_is_known(region: Region) -> None:
    """A release that has more of the calls gets its cases here, and loses its place on the page."""
    writes = {
        right
        for action in CATALOG.values()
        for right in action.permissions
        if not right.partition(":")[2].startswith(("Describe", "Get", "List"))
    }
    lacked = sorted(right.partition(":")[2] for right in writes if region.aws.lacks(right))
    named = re.search(r"ministack lacks ([^.]+)\.", _PAGE.read_text())
    assert named is not None
    assert re.findall(r"`(\w+)`", named[1]) == lacked
