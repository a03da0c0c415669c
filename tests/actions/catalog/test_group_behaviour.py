"""What a group will do about an act is known before the act: AWS heals, and terminates nobody."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from actions.aws.causes import Cause
from actions.aws.groups import read_group, read_member
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError, StillChangingError
from actions.base import Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.disruption_budget import read_scopes
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.rules import require_disruption_budget
from actions.execution.step import ReversedStep, Step
from actions.place import HOME
from actions.reasons import Reason
from actions.step_key import StepKey, StepKind
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.hardness import Hardness, Timings
from demo.aws.world import AwsError, Group, SecurityGroup, target_group_arn
from receiver.db.database import Database
from tests.conftest import Clock
from tests.executors import executor

_HOSTS = [f"i-{number:017x}" for number in range(6)]
_KEPT = {"HealthCheck", "ReplaceUnhealthy"}
_ISOLATING = "sg-0123456789abcdef0"
# A host that boots for longer than two health checks.
_SLOW = Timings(boot_s=90.0)


class CutOffError(BaseException):
    """The process ends here."""


class Region:
    """A group whose health is its load balancer's, in two members a zone or fewer."""

    def __init__(self, clock: Clock, state: Database, size: int = 6) -> None:
        self.clock = clock
        self.aws = Emulator(Core(clock, timings=_SLOW, hardness=Hardness(heals=True)))
        group = Group("web", 2, 12, size, target_groups=[target_group_arn("web")], checks="ELB")
        self.aws.world.add_group(group, _HOSTS[:size], 0.0)
        self.aws.world.security_groups[_ISOLATING] = SecurityGroup(_ISOLATING)
        self.acting: Executor = executor(clients(self.aws), state.write, clock)

    @property
    def group(self) -> Group:
        self.aws.pass_time()
        return self.aws.world.groups["web"]

    def step(self, action: str, target: str = _HOSTS[0], **params: Any) -> Step:
        return Step(
            run_id="0" * 26,
            key=StepKey(StepKind.LADDER, 0),
            action=CATALOG[action],
            target=target,
            params=params,
            playbook="test",
            group="web",
            cooldown_s=0,
            bounds=Bounds(percent=100, min_healthy=0),
        )

    def do(self, action: str, target: str = _HOSTS[0], **params: Any) -> Intent:
        intent = self.acting.execute(self.step(action, target, **params))
        assert isinstance(intent, Intent), intent
        return intent

    def reversal(self, intent: Intent) -> Step:
        action = CATALOG[intent.action]
        undo = action.undo(self.acting.call(intent))
        assert undo is not None
        return replace(
            self.step(undo.action, intent.target, **undo.params),
            key=intent.step.reversal(),
            reverses=ReversedStep(action, intent),
        )

    def give_back(self, instance_id: str, attempt: int = 0) -> Intent:
        """Resume what was suspended before the step on the instance."""
        with self.acting.begin() as connection:
            lent = ledger.read_intent(connection, "0" * 26, StepKey(StepKind.BEFORE, 4))
        assert lent is not None
        action = CATALOG[lent.action]
        undo = action.undo(replace(self.acting.call(lent), acted_on=[instance_id]))
        assert undo is not None
        back = self.acting.execute(
            replace(
                self.step(undo.action, lent.target, **undo.params),
                key=lent.step.reversal(attempt),
                reverses=ReversedStep(action, lent),
            )
        )
        assert isinstance(back, Intent)
        return back

    def wait(self, seconds: float) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += 5
            self.aws.pass_time()

    def terminated(self) -> list[str]:
        """The instances that the group terminated by itself."""
        return [
            activity["Description"]
            for activity in self.group.activities
            if activity["Description"].startswith("Terminating")
        ]


@pytest.fixture
def region(clock: Clock, state: Database) -> Region:
    return Region(clock, state)


@pytest.mark.parametrize("action", ["reboot_instance", "stop_instance", "deregister_target"])
@pytest.mark.parametrize("suspended", [set(), {"ReplaceUnhealthy"}, {"HealthCheck"}])
def test_a_member_that_its_group_would_replace_is_left_alone(
    region: Region, action: str, suspended: set[str]
) -> None:
    """Nothing is called, and the refusal says what to suspend."""
    region.group.suspended = suspended
    intent = region.do(action)
    assert (intent.outcome, intent.cause, intent.dispatched_at) == (
        Outcome.FAILED,
        Cause.STATE,
        None,
    )
    missing = " and ".join(sorted(_KEPT - suspended))
    assert "web would replace i-00000000000000000, which fails its" in (intent.error or "")
    assert f"health check: suspend {missing} first" in (intent.error or "")


def _suspend(region: Region) -> None:
    region.group.suspended = set(_KEPT)


def _ask_ec2_only(region: Region) -> None:
    region.group.checks = "EC2"


def _serve_nobody(region: Region) -> None:
    region.group.target_groups.clear()


def _stand_by(region: Region) -> None:
    region.group.members[_HOSTS[0]].lifecycle = "Standby"


@pytest.mark.parametrize("prepare", [_suspend, _ask_ec2_only, _serve_nobody, _stand_by])
def test_a_reboot_stays_a_reboot(region: Region, prepare: Callable[[Region], None]) -> None:
    """Longer than the load balancer waits, and nobody is terminated."""
    prepare(region)
    assert region.do("reboot_instance").outcome is Outcome.CHANGED
    region.wait(600)
    assert region.aws.world.instances[_HOSTS[0]].boots == 1
    assert region.terminated() == []


def test_standby_out_of_balance_costs_no_healthy_member(clock: Clock, state: Database) -> None:
    """Five in three zones: without the lonely one AZRebalance would terminate one of four.

    It is resumed once the member is back, and no sooner.
    """
    region = Region(clock, state, size=5)
    assert region.do("enter_standby", _HOSTS[2]).outcome is Outcome.CHANGED
    assert region.group.suspended == {"AZRebalance"}
    region.wait(900)
    assert region.group.members[_HOSTS[2]].lifecycle == "Standby"
    early = region.give_back(_HOSTS[2], attempt=0)
    assert "web would terminate a member to balance its zones" in (early.error or "")
    region.acting.aws_at(HOME).autoscaling.exit_standby(
        AutoScalingGroupName="web", InstanceIds=[_HOSTS[2]]
    )
    assert region.give_back(_HOSTS[2], attempt=1).outcome is Outcome.CHANGED
    region.wait(900)
    assert (region.group.suspended, len(region.group.members)) == (set(), 5)
    assert region.terminated() == []


def test_a_detached_member_is_not_balanced_away(clock: Clock, state: Database) -> None:
    """Its processes are resumed once it has ended, or is a member again."""
    region = Region(clock, state, size=5)
    region.group.suspended = {"AZRebalance"}
    region.acting.aws_at(HOME).autoscaling.detach_instances(
        AutoScalingGroupName="web", InstanceIds=[_HOSTS[2]], ShouldDecrementDesiredCapacity=True
    )
    away = {"processes": ["AZRebalance"], "set_healthy": [_HOSTS[2]]}
    for number in range(2):
        step = replace(region.step("resume_processes", "web", **away), key=StepKey.parse(number))
        refused = region.acting.execute(step)
        assert isinstance(refused, Intent)
        assert f"while {_HOSTS[2]} is away" in (refused.error or "")
        # Then it has left its group.
        region.wait(400)
    region.aws.world.instances[_HOSTS[2]].state = "terminated"
    again = replace(region.step("resume_processes", "web", **away), key=StepKey.parse(2))
    resumed = region.acting.execute(again)
    assert isinstance(resumed, Intent)
    assert resumed.outcome is Outcome.CHANGED


@pytest.mark.parametrize("code", ["AccessDenied", "Throttling"])
def test_a_standby_that_may_not_be_prepared_is_not_taken(
    clock: Clock, state: Database, code: str
) -> None:
    region = Region(clock, state, size=5)
    region.aws.trouble = _refused("SuspendProcesses", partial(AwsError, code))
    intent = region.do("enter_standby", _HOSTS[2])
    assert (intent.action, intent.outcome) == ("suspend_processes", Outcome.FAILED)
    assert "EnterStandby" not in region.aws.operations()


def test_a_standby_that_was_cut_off_is_prepared_once(clock: Clock, state: Database) -> None:
    """The process ended between the two calls."""
    region = Region(clock, state, size=5)
    region.aws.trouble = _refused("EnterStandby", CutOffError)
    with pytest.raises(CutOffError):
        region.do("enter_standby", _HOSTS[2])
    region.aws.trouble = lambda *_: None
    clock.now += CATALOG["enter_standby"].shown_within_s
    intent = region.do("enter_standby", _HOSTS[2])
    assert (intent.outcome, region.group.suspended) == (Outcome.FAILED, {"AZRebalance"})
    assert region.aws.operations().count("SuspendProcesses") == 1
    assert region.give_back(_HOSTS[2]).outcome is Outcome.CHANGED


def test_a_balanced_group_keeps_its_rebalancing(region: Region) -> None:
    """Six in three zones: two, two and one are in balance."""
    assert region.do("enter_standby").outcome is Outcome.CHANGED
    assert region.group.suspended == set()


def test_a_quarantine_out_of_balance_costs_no_healthy_member(clock: Clock, state: Database) -> None:
    """Another is launched in its zone, instead."""
    region = Region(clock, state, size=5)
    intent = region.do("quarantine_instance", _HOSTS[2], security_group=_ISOLATING)
    assert intent.outcome is Outcome.CHANGED
    region.wait(900)
    assert (len(region.group.members), region.terminated()) == (6, [])


def test_a_detachment_out_of_balance_is_refused(clock: Clock, state: Database) -> None:
    """Unless somebody has suspended AZRebalance."""
    region = Region(clock, state, size=5)
    intent = region.do("detach_instance", _HOSTS[2])
    assert "web would terminate another member to balance its zones" in (intent.error or "")
    region.group.suspended = {"AZRebalance"}
    again = replace(region.step("detach_instance", _HOSTS[2]), key=StepKey(StepKind.LADDER, 1))
    result = region.acting.execute(again)
    assert isinstance(result, Intent)
    assert result.outcome is Outcome.CHANGED


@pytest.mark.parametrize(
    "message",
    [
        "We currently do not have sufficient m5.large capacity in the zone.",
        "20 instance(s) are already running. Launching EC2 instance failed.",
        "The image id '[ami-0]' does not exist. Launching EC2 instance failed.",
    ],
)
@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("replace_instance", {}),
        ("set_desired_capacity", {"desired": "+1"}),
        ("start_instance_refresh", {}),
    ],
)
def test_a_group_that_cannot_launch_is_not_told_to(
    region: Region, message: str, action: str, params: dict[str, Any]
) -> None:
    """The refusal quotes AWS; no member is terminated for one that would never come."""
    region.group.launch_error, region.group.desired = message, 7
    region.aws.groups.converge(region.group)
    group_acts = CATALOG[action].target == "group"
    intent = region.do(action, "web" if group_acts else _HOSTS[0], **params)
    assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)
    assert f"web cannot launch ({_cause(message)}): {message}" in (intent.error or "")


def test_a_group_that_is_short_is_not_made_shorter(region: Region) -> None:
    """Five of six, of which AWS tells no failed launch."""
    region.group.suspended = {"Launch"}
    del region.group.members[_HOSTS[5]]
    region.aws.world.groups["web"].suspended = set()
    assert "web is 1 of 6 instances short" in (region.do("replace_instance").error or "")


def test_raised_capacity_is_under_way_until_it_serves(region: Region) -> None:
    """What is pending serves nobody."""
    intent = region.do("set_desired_capacity", "web", desired=8)
    action, call = CATALOG["set_desired_capacity"], region.acting.call(intent)
    assert action.progress(call) is Progress.UNDERWAY
    region.wait(60)
    assert action.progress(call) is Progress.DONE


def test_what_a_hook_retains_has_been_replaced(region: Region) -> None:
    """It stays for people to look at, until one of them ends it."""
    intent = region.do("replace_instance")
    action, call = CATALOG["replace_instance"], region.acting.call(intent)
    region.wait(10)
    member = region.group.members[_HOSTS[0]]
    region.wait(60)
    region.group.members[_HOSTS[0]] = member
    for lifecycle, progress in (
        ("Terminating:Wait", Progress.UNDERWAY),
        ("Terminating:Retained", Progress.DONE),
    ):
        member.lifecycle = lifecycle
        region.wait(120)
        region.group.members[_HOSTS[0]] = member
        assert action.progress(call) is progress


@pytest.mark.parametrize("action", ["enter_standby", "quarantine_instance"])
def test_a_rollback_waits_for_a_member_on_its_way_into_standby(region: Region, action: str) -> None:
    """It drains for five minutes; then it comes back."""
    params = {"security_group": _ISOLATING} if action == "quarantine_instance" else {}
    intent = region.do(action, **params)
    reversal = region.reversal(intent)
    with pytest.raises(StillChangingError, match="is EnteringStandby"):
        region.acting.execute(reversal)
    region.wait(400)
    back = region.acting.execute(reversal)
    assert isinstance(back, Intent)
    assert back.outcome is Outcome.CHANGED
    region.wait(60)
    assert region.group.members[_HOSTS[0]].lifecycle == "InService"


@pytest.mark.parametrize(
    ("ill", "min_healthy", "reason"),
    [
        ({3}, 1, Reason.MIN_HEALTHY),
        ({1}, 1, None),
        ({1, 2}, 4, Reason.MIN_HEALTHY),
        ({1, 2}, 3, None),
        ({0}, 6, Reason.MIN_HEALTHY),
    ],
    ids=["its zone", "another zone", "too few", "enough", "itself"],
)
def test_whom_the_balancer_finds_ill_does_not_serve(
    region: Region, ill: set[int], min_healthy: int, reason: Reason | None
) -> None:
    """The group asks EC2 alone, and finds all of them well: two in each of three zones."""
    region.group.checks = "EC2"
    targets = region.aws.world.target_groups[target_group_arn("web")]
    targets.states = {_HOSTS[number]: "unhealthy" for number in ill}
    bounds = Bounds(percent=100, min_healthy=min_healthy)
    scopes = read_scopes(region.acting.aws_at(HOME), _HOSTS[0], "web", bounds, 5.0)
    refusal = require_disruption_budget(scopes, {}, _HOSTS[0])
    assert (refusal.reason if refusal else None) is reason


def _stop(region: Region) -> None:
    region.aws.world.instances[_HOSTS[0]].state = "stopped"


def _quarantine(region: Region) -> None:
    region.aws.world.instances[_HOSTS[0]].tags[QUARANTINE_TAG] = "by hand"


@pytest.mark.parametrize(
    ("action", "happens", "why"),
    [
        ("enter_standby", _stop, "is stopped: its group would replace it in service"),
        ("quarantine_instance", _stop, "is stopped: its group would replace it in service"),
        ("enter_standby", _quarantine, "is in quarantine: its group would replace it in service"),
    ],
)
def test_who_would_be_terminated_in_service_stays_in_standby(
    region: Region, action: str, happens: Callable[[Region], None], why: str
) -> None:
    """Somebody examines it: the rollback would cost its disks."""
    params = {"security_group": _ISOLATING} if action == "quarantine_instance" else {}
    intent = region.do(action, **params)
    region.wait(400)
    happens(region)
    back = region.acting.execute(region.reversal(intent))
    assert isinstance(back, Intent)
    assert (back.outcome, back.cause) == (Outcome.FAILED, Cause.STATE)
    assert why in (back.error or "")
    region.wait(400)
    assert region.group.members[_HOSTS[0]].lifecycle == "Standby"


def test_an_instance_in_quarantine_joins_no_group(region: Region) -> None:
    """It was detached, and cut off since: in service it would be terminated with its evidence."""
    intent = region.do("detach_instance")
    region.wait(400)
    _quarantine(region)
    back = region.acting.execute(region.reversal(intent))
    assert isinstance(back, Intent)
    assert "is in quarantine" in (back.error or "")
    assert "AttachInstances" not in region.aws.operations()


@pytest.mark.parametrize("kind", ["classic", "lattice"])
@pytest.mark.parametrize("action", ["reboot_instance", "stop_instance"])
def test_a_balancer_whose_health_is_not_read_is_left_to_people(
    region: Region, kind: str, action: str
) -> None:
    """The checks could not be resumed: nobody can tell when it finds the host healthy again."""
    setattr(region.group, kind, ["old"])
    region.group.checks = {"classic": "ELB", "lattice": "VPC_LATTICE"}[kind]
    region.group.suspended = set(_KEPT)
    intent = region.do(action)
    assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)
    assert "web asks old about the health of" in (intent.error or "")
    params = {"processes": sorted(_KEPT), "set_healthy": [_HOSTS[0]]}
    resumed = region.acting.execute(
        replace(region.step("resume_processes", "web", **params), key=StepKey(StepKind.LADDER, 1))
    )
    assert isinstance(resumed, Intent)
    assert (resumed.outcome, region.group.suspended) == (Outcome.FAILED, _KEPT)


def test_a_step_back_from_standby_is_tried_again_later(region: Region) -> None:
    """While the member is on its way there: that passes."""
    region.do("enter_standby")
    again = replace(region.step("exit_standby"), key=StepKey(StepKind.LADDER, 1))
    intent = region.acting.execute(again)
    assert isinstance(intent, Intent)
    assert (intent.outcome, intent.cause) == (Outcome.FAILED, Cause.PASSING)


def test_a_group_that_was_just_read_is_not_read_again(region: Region) -> None:
    """A reboot costs the decision's reads and two calls."""
    _ask_ec2_only(region)
    group = read_group(clients(region.aws), "web")
    acting = replace(region.acting, recent_group=lambda _, name: group if name == "web" else None)
    acting = replace(acting, recent_scopes=lambda *_: [])
    region.aws.log.clear()
    acting.execute(region.step("reboot_instance"))
    assert region.aws.operations() == ["DescribeInstances", "RebootInstances"]


def _cause(message: str) -> str:
    return next(
        cause
        for word, cause in (("capacity", "capacity"), ("running", "quota"), ("ami", "template"))
        if word in message
    )


def _refused(
    operation: str, error: Callable[[], BaseException] = lambda: AwsError("ValidationError")
) -> Callable[[str, str], None]:
    def trouble(name: str, when: str) -> None:
        if name == operation and when == "before":
            raise error()

    return trouble


@pytest.mark.parametrize(
    ("upkeep", "kept"),
    [
        ({}, (90, None)),
        ({"MinHealthyPercentage": -1, "MaxHealthyPercentage": -1}, (90, None)),
        ({"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}, (100, 200)),
        ({"MinHealthyPercentage": 60, "MaxHealthyPercentage": 160}, (90, 160)),
        ({"MinHealthyPercentage": 95, "MaxHealthyPercentage": 195}, (95, 195)),
    ],
)
def test_a_refresh_keeps_what_the_maintenance_policy_keeps(
    region: Region, upkeep: dict[str, int], kept: tuple[int, int | None]
) -> None:
    """Or more. AWS refuses percentages more than 100 apart; a policy that was cleared has -1."""
    region.group.upkeep = upkeep
    assert region.do("start_instance_refresh", "web").outcome is Outcome.CHANGED
    (started,) = [call for call in region.aws.calls if call.operation == "StartInstanceRefresh"]
    asked = started.parameters["Preferences"]
    assert (asked["MinHealthyPercentage"], asked.get("MaxHealthyPercentage")) == kept


def test_a_member_that_would_come_back_is_not_replaced_by_a_scale_in(region: Region) -> None:
    """The warm pool takes back what is scaled in, and nobody acts on it there."""
    region.group.warm, region.group.reuses = [], True
    refused = region.do("replace_instance", mode="launch_first")
    assert "web may return" in (refused.error or "")
    again = replace(region.step("scale_in", "web", desired=5), key=StepKey(StepKind.LADDER, 1))
    region.acting.execute(again)
    region.wait(600)
    (pooled,) = region.group.warm
    with pytest.raises(NotActionableError, match="in the warm pool of Auto Scaling group web"):
        read_member(clients(region.aws), pooled)
    start = replace(region.step("start_instance", pooled), key=StepKey(StepKind.LADDER, 2))
    started = region.acting.execute(start)
    assert isinstance(started, Intent)
    assert "in the warm pool of" in (started.error or "")
    region.group.desired = 6
    region.aws.groups.converge(region.group)
    region.wait(600)
    assert pooled in region.group.members
