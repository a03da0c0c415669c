"""A zone: its traffic is shifted away where the others carry it, and comes back when it is well."""

from dataclasses import replace
from typing import Any

import pytest

from actions.aws.target_errors import TooEarlyError
from actions.base import Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import ReversedStep, Step
from actions.place import HOME
from actions.step_key import StepKey, StepKind
from demo.aws.clients import clients
from demo.aws.core import Core, moment
from demo.aws.emulator import Emulator
from demo.aws.world import ZONES, AwsError, Group, TargetGroup, target_group_arn
from receiver.db.database import Database
from tests.conftest import Clock
from tests.executors import executor

_BALANCER = target_group_arn("web").replace("targetgroup/", "loadbalancer/app/")
_HOSTS = [f"i-{number:017x}" for number in range(6)]
_ILL = ZONES[0]


class Region:
    """A group of six in three zones behind one load balancer; nothing serves in the first zone."""

    def __init__(self, clock: Clock, state: Database) -> None:
        self.clock = clock
        self.aws = Emulator(Core(clock))
        arn = target_group_arn("web")
        self.group = Group("web", 2, 12, 6, target_groups=[arn])
        world = self.aws.world
        world.add_group(self.group, _HOSTS, 0.0)
        world.shiftable.add(_BALANCER)
        self.targets: TargetGroup = world.target_groups[arn]
        self.targets.balancers = [_BALANCER]
        self.fail(*self.of_zone(_ILL))
        self.acting: Executor = executor(clients(self.aws), state.write, clock)

    def of_zone(self, zone: str) -> list[str]:
        return [member.id for member in self.group.members.values() if member.az == zone]

    def fail(self, *members: str) -> None:
        self.targets.states = dict.fromkeys(members, "unhealthy")

    def step(self, **params: Any) -> Step:
        return Step(
            run_id="0" * 26,
            key=StepKey(StepKind.LADDER, 0),
            action=CATALOG["start_zonal_shift"],
            target="web",
            params=params,
            playbook="test",
            cooldown_s=0,
            bounds=Bounds(percent=34, min_healthy=2),
        )

    def start(self, **params: Any) -> Intent:
        intent = self.acting.execute(self.step(**{"minutes": 60, **params}))
        assert isinstance(intent, Intent), intent
        return intent

    def give_back(self, lent: Intent, *, unrefused_s: float, attempt: int = 0) -> Intent:
        """As the debt's attempt does, after so long without a refusal."""
        call = replace(self.acting.call(lent), unrefused_s=unrefused_s)
        undo = CATALOG[lent.action].undo(call)
        assert undo is not None
        intent = self.acting.execute(
            replace(
                self.step(**undo.params),
                key=lent.step.reversal(attempt),
                action=CATALOG[undo.action],
                reverses=ReversedStep(CATALOG[lent.action], lent),
            )
        )
        assert isinstance(intent, Intent), intent
        return intent

    def is_owed(self, lent: Intent) -> bool:
        return CATALOG[lent.action].unchanged_since(self.acting.call(lent))

    def away(self) -> list[str]:
        managed = self.acting.aws_at(HOME).arc_zonal_shift.get_managed_resource(
            resourceIdentifier=_BALANCER
        )
        return [zone for zone, weight in managed["appliedWeights"].items() if weight == 0]


@pytest.fixture
def region(clock: Clock, state: Database) -> Region:
    return Region(clock, state)


@pytest.mark.parametrize("named", [{}, {"zone": _ILL, "load_balancer": _BALANCER}])
def test_the_traffic_of_the_ill_zone_is_shifted_away(region: Region, named: dict[str, str]) -> None:
    intent = region.start(**named)
    assert (intent.outcome, region.away()) == (Outcome.CHANGED, ["use1-az1"])
    action = CATALOG["start_zonal_shift"]
    assert action.progress(region.acting.call(intent)) is Progress.DONE
    (shift,) = region.aws.world.shifts
    assert shift["comment"] == f"smartcloudops {'0' * 26}/0"


def test_it_ends_by_itself(region: Region) -> None:
    """Then nothing is owed."""
    intent = region.start(minutes=90)
    region.clock.now += 90 * 60
    assert (region.away(), region.is_owed(intent)) == ([], False)


def test_it_is_cancelled_once_the_zone_has_been_well_for_long(region: Region) -> None:
    intent = region.start()
    ill = region.give_back(intent, unrefused_s=3_600)
    assert (ill.outcome, ill.error) == (
        Outcome.FAILED,
        f"{_ILL} is ill: 0 of 2 targets serve",
    )
    region.fail()
    with pytest.raises(TooEarlyError, match="is well for 599 s, and needs 600"):
        region.give_back(intent, unrefused_s=599, attempt=1)
    assert region.give_back(intent, unrefused_s=600, attempt=1).outcome is Outcome.CHANGED
    assert (region.away(), region.is_owed(intent)) == ([], False)


def _another_host_fails(region: Region) -> None:
    region.fail(*region.of_zone(_ILL), region.of_zone(ZONES[1])[0])


def _nothing_serves(region: Region) -> None:
    region.fail(*_HOSTS)


def _all_is_well(region: Region) -> None:
    region.fail()


def _not_enabled(region: Region) -> None:
    region.aws.world.shiftable.clear()


def _shifted_already(region: Region) -> None:
    region.acting.aws_at(HOME).arc_zonal_shift.start_zonal_shift(
        resourceIdentifier=_BALANCER, awayFrom="use1-az2", expiresIn="1h", comment="by hand"
    )


def _one_zone(region: Region) -> None:
    region.group.zones = (_ILL,)


def _two_balancers(region: Region) -> None:
    region.targets.balancers = [_BALANCER, f"{_BALANCER}0"]


def _more_is_wanted(region: Region) -> None:
    region.group.desired = 9


@pytest.mark.parametrize(
    ("prepare", "named", "why"),
    [
        (_another_host_fails, {}, "serve with 3 instances, and would need 4"),
        (_more_is_wanted, {}, "serve with 4 instances, and would need 6"),
        (_nothing_serves, {"zone": _ILL}, "a zonal shift has no effect"),
        (_nothing_serves, {}, "those in which web fails are: us-east-1a, us-east-1b, us-east-1c"),
        (_all_is_well, {}, "those in which web fails are: none"),
        (_not_enabled, {}, "zonal_shift.config.enabled"),
        (_shifted_already, {}, "traffic is shifted away from use1-az2 already"),
        (_one_zone, {}, "web does not serve in any other zone"),
        (_two_balancers, {}, "web has 2 load balancers"),
    ],
)
def test_what_would_not_help_is_refused(
    region: Region, prepare: Any, named: dict[str, str], why: str
) -> None:
    prepare(region)
    intent = region.start(**named)
    assert (intent.outcome, intent.dispatched_at) == (Outcome.FAILED, None)
    assert why in (intent.error or "")


def test_a_shift_whose_answer_is_lost_is_found_by_its_comment(region: Region) -> None:
    def trouble(name: str, when: str) -> None:
        if (name, when) == ("StartZonalShift", "after"):
            raise AwsError("InternalServerException", status=500)

    region.aws.trouble = trouble
    intent = region.start()
    (shift,) = region.aws.world.shifts
    made = {"shift": shift["zonalShiftId"], "expires_at": shift["expiryTime"].timestamp()}
    assert (intent.outcome, intent.made) == (Outcome.CHANGED, made)


def test_a_zone_that_is_away_already_needs_nothing(region: Region) -> None:
    region.start()
    again = region.acting.execute(replace(region.step(minutes=60), key=StepKey(StepKind.LADDER, 1)))
    assert isinstance(again, Intent)
    assert (again.outcome, len(region.aws.world.shifts)) == (Outcome.NOOP, 1)


@pytest.mark.parametrize("change", ["comment", "expiryTime"])
def test_a_shift_that_a_person_took_over_is_theirs(region: Region, change: str) -> None:
    """They keep the zone away for longer, or for another reason."""
    intent = region.start()
    (shift,) = region.aws.world.shifts
    taken_over = {"comment": "alice: until Monday", "expiryTime": moment(region.clock() + 90_000)}
    shift[change] = taken_over[change]
    region.fail()
    assert not region.is_owed(intent)
    assert region.give_back(intent, unrefused_s=3_600).outcome is Outcome.FAILED
    assert region.away() == ["use1-az1"]


@pytest.mark.parametrize(("min_healthy", "outcome"), [(4, Outcome.CHANGED), (5, Outcome.FAILED)])
def test_the_least_that_must_serve_is_in_instances(
    region: Region, min_healthy: int, outcome: Outcome
) -> None:
    """Four of two units each serve in the other zones."""
    for member in region.group.members.values():
        member.weight = 2
    bounds = Bounds(percent=34, min_healthy=min_healthy)
    intent = region.acting.execute(replace(region.step(minutes=60), bounds=bounds))
    assert isinstance(intent, Intent)
    assert intent.outcome is outcome
