"""Containment cuts off first: whatever else AWS refuses, the instance is disconnected."""

from dataclasses import replace
from typing import Any

import pytest

from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import ReversedStep, Step
from actions.place import HOME
from actions.step_key import StepKey, StepKind
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Hardness
from demo.aws.world import AwsError, Group, Instance, SecurityGroup, target_group_arn
from receiver.db.database import Database
from tests.conftest import Clock
from tests.executors import executor

_ISOLATING, _USUAL, _UNTRACKED = "sg-0123456789abcdef0", "sg-00000001", "smartcloudops-untracked"
_PARAMS = {"security_group": _ISOLATING}
_ALL = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
_HOSTS = [f"i-{number:017x}" for number in range(6)]
_HOST = _HOSTS[0]
_FIRST, _SECOND = "eni-00000000000000001", "eni-00000000000000002"


class Region:
    """A group of six whose health is its load balancer's; its first host has two interfaces."""

    def __init__(self, clock: Clock, state: Database) -> None:
        self.clock = clock
        self.aws = Emulator(Core(clock, hardness=Hardness(heals=True)))
        group = Group("web", 2, 12, 6, target_groups=[target_group_arn("web")], checks="ELB")
        world = self.aws.world
        world.add_group(group, _HOSTS, 0.0)
        world.security_groups[_ISOLATING] = SecurityGroup(_ISOLATING)
        self.host.interfaces = {_FIRST: [_USUAL], _SECOND: [_USUAL]}
        self.host.tracked = {_FIRST: True, _SECOND: True}
        self.acting: Executor = executor(clients(self.aws), state.write, clock)

    @property
    def host(self) -> Instance:
        return self.aws.world.instances[_HOST]

    @property
    def group(self) -> Group:
        self.aws.pass_time()
        return self.aws.world.groups["web"]

    def let_all_through(self) -> None:
        group = SecurityGroup(_UNTRACKED, ingress=_ALL, egress=_ALL)
        self.aws.world.security_groups[_UNTRACKED] = group

    def refuse(self, operation: str, code: str = "UnauthorizedOperation") -> None:
        def trouble(name: str, when: str) -> None:
            if name == operation and when == "before":
                raise AwsError(code)

        self.aws.trouble = trouble

    def step(self, action: str = "quarantine_instance", **params: Any) -> Step:
        return Step(
            run_id="0" * 26,
            key=StepKey(StepKind.LADDER, 0),
            action=CATALOG[action],
            target=_HOST,
            params=_PARAMS | params,
            playbook="test",
            group="web",
            cooldown_s=0,
            bounds=Bounds(percent=100, min_healthy=0),
        )

    def execute(self, step: Step) -> Intent:
        intent = self.acting.execute(step)
        assert isinstance(intent, Intent), intent
        return intent

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / 5)):
            self.clock.now += 5
            self.aws.pass_time()

    def undo(self, step: Step, intent: Intent, attempt: int = 0) -> Intent:
        """As a run does at its end, which has acted on the host."""
        call = replace(self.acting.call(intent), acted_on=[_HOST])
        undo = step.action.undo(call)
        assert undo is not None
        return self.execute(
            replace(
                step,
                key=intent.step.reversal(attempt),
                action=CATALOG[undo.action],
                target=intent.target,
                params=undo.params,
                reverses=ReversedStep(step.action, intent),
            )
        )

    def suspension(self) -> tuple[Step, Intent] | None:
        """What the group was made to suspend for the sake of its host."""
        with self.acting.begin() as connection:
            steps = ledger.intents_by_run(connection, ["0" * 26])["0" * 26]
        lent = [step for step in steps if step.outcome is Outcome.CHANGED]
        return next(
            (
                (replace(self.step(), action=CATALOG[step.action]), step)
                for step in lent
                if step.action == "suspend_processes"
            ),
            None,
        )


@pytest.fixture
def region(clock: Clock, state: Database) -> Region:
    return Region(clock, state)


def _connected(region: Region) -> list[str]:
    return [name for name, groups in region.host.interfaces.items() if groups != [_ISOLATING]]


def _tagged(region: Region) -> bool:
    return "smartcloudops:quarantined" in region.host.tags


@pytest.mark.parametrize("action", ["quarantine_instance", "emergency_shutdown"])
@pytest.mark.parametrize(
    "operation",
    [
        "CreateSnapshot",
        "DescribeVolumes",
        "DescribeSnapshots",
        "CreateTags",
        "EnterStandby",
        "DetachInstances",
        "StopInstances",
    ],
)
def test_whatever_is_refused_it_is_cut_off(region: Region, action: str, operation: str) -> None:
    """And nobody is told that all is done, if it is not."""
    region.refuse(operation)
    intent = region.execute(region.step(action))
    assert _connected(region) == []
    failed = operation in region.aws.operations()
    assert intent.outcome is (Outcome.UNKNOWN if failed else Outcome.CHANGED)
    if failed:
        assert intent.error == "UnauthorizedOperation"


def test_what_aws_does_not_show_yet_is_not_told_as_never_done(region: Region) -> None:
    """Its describes are as old as ten seconds; the host is cut off all the same."""
    region.aws.core.hardness = Hardness(heals=True, lag_s=10.0)
    region.refuse("EnterStandby", "ResourceContention")
    intent = region.execute(region.step())
    assert (intent.outcome, intent.error) == (Outcome.UNKNOWN, "ResourceContention")
    assert _connected(region) == []


def test_what_is_undone_is_named(region: Region) -> None:
    region.refuse("CreateSnapshot", "SnapshotCreationPerVolumeRateExceeded")
    intent = region.execute(region.step())
    assert intent.made == {"undone": [f"{region.host.volumes[0]} has no snapshot"]}
    assert _tagged(region)


def test_each_interface_is_cut_off_by_itself(region: Region) -> None:
    """One that an AWS service manages does not keep the others connected; no tag says otherwise."""
    region.host.managed = {_FIRST}
    intent = region.execute(region.step())
    assert (_connected(region), _tagged(region)) == ([_FIRST], False)
    assert (intent.outcome, intent.error) == (Outcome.UNKNOWN, "OperationNotPermitted")
    assert f"{_FIRST} is connected" in intent.made["undone"]


def test_open_connections_end_where_they_can_be_untracked(region: Region) -> None:
    """A change of groups alone leaves them open."""
    region.execute(region.step())
    assert region.host.tracked == {_FIRST: True, _SECOND: True}


def test_open_connections_end(region: Region) -> None:
    region.let_all_through()
    intent = region.execute(region.step())
    assert (intent.outcome, region.host.tracked) == (Outcome.CHANGED, {})


@pytest.mark.parametrize("rules", [(_ALL, []), ([], _ALL), ([], [])])
def test_a_group_that_lets_less_through_is_not_used(
    region: Region, rules: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    group = SecurityGroup(_UNTRACKED, ingress=rules[0], egress=rules[1])
    region.aws.world.security_groups[_UNTRACKED] = group
    region.execute(region.step())
    changes = region.aws.operations().count("ModifyNetworkInterfaceAttribute")
    assert (changes, _connected(region)) == (2, [])


def test_an_interface_that_was_opened_is_not_left_open(region: Region) -> None:
    """Where the isolating group is refused after the open one, the former groups come back."""
    region.let_all_through()
    changes = iter(range(10))

    def trouble(name: str, when: str) -> None:
        if name == "ModifyNetworkInterfaceAttribute" and when == "before" and next(changes) == 1:
            raise AwsError("OperationNotPermitted")

    region.aws.trouble = trouble
    intent = region.execute(region.step())
    assert intent.outcome is Outcome.UNKNOWN
    assert region.host.interfaces == {_FIRST: [_USUAL], _SECOND: [_ISOLATING]}


@pytest.mark.parametrize("minimum", [2, 6])
def test_its_group_does_not_terminate_the_evidence(region: Region, minimum: int) -> None:
    """A member in standby is not checked; at the minimum another one is launched."""
    region.group.minimum = minimum
    intent = region.execute(region.step())
    assert intent.outcome is Outcome.CHANGED
    region.pass_time(900)
    assert region.host.state == "running"
    assert region.group.members[_HOST].lifecycle == "Standby"
    assert region.group.capacity() == max(5, minimum)


def test_released_it_serves_again(region: Region) -> None:
    step = region.step()
    intent = region.execute(step)
    region.pass_time(600)
    assert region.undo(step, intent).outcome is Outcome.CHANGED
    region.pass_time(600)
    assert (region.group.members[_HOST].lifecycle, _tagged(region)) == ("InService", False)
    assert region.host.interfaces == {_FIRST: [_USUAL], _SECOND: [_USUAL]}


def test_one_whose_group_keeps_it_is_not_stopped(region: Region) -> None:
    """Its group would terminate it."""
    region.refuse("DetachInstances", "ResourceContention")
    region.execute(region.step("emergency_shutdown"))
    assert (region.host.state, _connected(region)) == ("running", [])


_KEPT = {
    "quarantine_instance": "EnterStandby",
    "emergency_shutdown": "DetachInstances",
}


@pytest.mark.parametrize("action", _KEPT)
def test_one_whose_group_keeps_it_is_not_replaced(region: Region, action: str) -> None:
    """Whatever its load balancer says; for that, its group heals nobody."""
    region.refuse(_KEPT[action], "ResourceContention")
    region.execute(region.step(action))
    assert region.group.suspended == {"HealthCheck", "ReplaceUnhealthy"}
    region.pass_time(900)
    assert region.host.state == "running"
    assert region.group.members[_HOST].lifecycle == "InService"


def test_its_group_heals_again_once_the_host_is_out_of_service(region: Region) -> None:
    """Until then a resumption would be its end."""
    region.refuse("EnterStandby")
    region.execute(region.step())
    lent = region.suspension()
    assert lent is not None
    region.pass_time(60)
    kept = region.undo(*lent)
    assert (kept.outcome, kept.dispatched_at) == (Outcome.FAILED, None)
    assert f"web would terminate {_HOST}" in (kept.error or "")
    region.refuse("")
    region.acting.aws_at(HOME).autoscaling.enter_standby(
        InstanceIds=[_HOST], AutoScalingGroupName="web", ShouldDecrementDesiredCapacity=True
    )
    region.pass_time(400)
    assert region.undo(*lent, attempt=1).outcome is Outcome.CHANGED
    region.pass_time(300)
    assert (region.group.suspended, region.host.state) == (set(), "running")


def test_somebody_elses_resumption_does_not_end_it(region: Region) -> None:
    """Another run had suspended the processes, and gives them back."""
    region.group.suspended = {"HealthCheck", "ReplaceUnhealthy"}
    region.refuse("EnterStandby")
    region.execute(region.step())
    assert region.suspension() is None
    processes = sorted(region.group.suspended)
    resumes = replace(
        region.step("resume_processes"),
        run_id="1" * 26,
        target="web",
        params={"processes": processes},
    )
    assert f"web would terminate {_HOST}" in (region.execute(resumes).error or "")


def test_a_suspension_that_is_refused_is_tried_again(region: Region) -> None:
    """Each time the run looks at its step."""
    refused = {"EnterStandby", "SuspendProcesses"}

    def trouble(name: str, when: str) -> None:
        if name in refused and when == "before":
            raise AwsError("ResourceContention")

    region.aws.trouble = trouble
    step = region.step()
    intent = region.execute(step)
    assert region.group.suspended == set()
    refused.remove("SuspendProcesses")
    for _ in range(3):
        region.acting.settle_lost(step, intent)
    assert region.group.suspended == {"HealthCheck", "ReplaceUnhealthy"}
    assert region.aws.operations().count("SuspendProcesses") == 2


def test_a_group_that_would_not_replace_it_is_left_as_it_is(region: Region) -> None:
    region.group.checks = "EC2"
    region.refuse("EnterStandby")
    region.execute(region.step())
    region.pass_time(900)
    assert (region.group.suspended, region.host.state) == (set(), "running")


@pytest.mark.parametrize("action", ["quarantine_instance", "emergency_shutdown"])
def test_one_that_left_its_group_and_stayed_connected_counts_as_changed(
    region: Region, action: str
) -> None:
    """Every interface is refused, but the rest was done: "failed" would leave it undone."""
    region.refuse("ModifyNetworkInterfaceAttribute")
    intent = region.execute(region.step(action))
    assert (intent.outcome, len(_connected(region))) == (Outcome.UNKNOWN, 2)


def test_a_partial_isolation_is_rolled_back(region: Region) -> None:
    """One interface could not be cut off; the other one gets its groups back."""
    region.host.managed = {_FIRST}
    step = region.step()
    intent = region.execute(step)
    region.host.managed = set()
    region.pass_time(600)
    assert region.undo(step, intent).outcome is Outcome.CHANGED
    assert region.host.interfaces == {_FIRST: [_USUAL], _SECOND: [_USUAL]}
