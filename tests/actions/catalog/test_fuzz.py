"""Every action, on a member in any state of any kind of group, on an AWS that heals and refuses.

It ends with a name, below no minimum, and with no termination that the step did not name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

from actions.audit.archive import FolderArchive
from actions.audit.captures import Captures
from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution import claims
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from demo.aws.hardness import CALM, Timings, harsh
from demo.aws.world import Group, SecurityGroup, target_group_arn
from receiver.db.database import Database, database
from receiver.runtime.redaction import Redaction
from tests.actions.catalog.catalog_fixtures import (
    CASES,
    GROUP,
    ISOLATING,
    OUTSIDE,
    Case,
    World,
)
from tests.executors import executor

_MODELS = boto3.Session("key", "secret", region_name="us-east-1").client("autoscaling").meta
_LIFECYCLE: Any = _MODELS.service_model.shape_for("LifecycleState")
# Every action; evidence is captured of any target.
_CASES = (*CASES, *OUTSIDE, Case(action="capture", writes="SendCommand"))
_HOSTS = [f"i-{number:017x}" for number in range(6)]
_MINIMUM = 4
# The steps that terminate, and of which members.
_TERMINATES = {
    "replace_instance": _HOSTS[:1],
    **dict.fromkeys(("scale_in", "start_instance_refresh", "restore_version"), _HOSTS),
}


def _plain(_: Group) -> None:
    """As it is."""


def _elb_checked(group: Group) -> None:
    group.checks = "ELB"


def _weighted(group: Group) -> None:
    group.weight, group.desired = 4, 4 * group.desired
    group.minimum, group.maximum = 4 * group.minimum, 4 * group.maximum
    for member in group.members.values():
        member.weight = 4


def _suspended(group: Group) -> None:
    group.suspended = {"Launch", "Terminate", "InstanceRefresh"}


def _hooked(group: Group) -> None:
    transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    hook = {"LifecycleHookName": "drain", "LifecycleTransition": transition}
    group.hooks = [{**hook, "HeartbeatTimeout": 600}]


def _protected(group: Group) -> None:
    for member in group.members.values():
        member.protected = True


def _unable_to_launch(group: Group) -> None:
    group.launch_error = "We currently do not have sufficient m5.large capacity in the zone."


_KINDS: tuple[Callable[[Group], None], ...] = (
    _plain,
    _elb_checked,
    _weighted,
    _suspended,
    _hooked,
    _protected,
    _unable_to_launch,
)


@dataclass
class Fleet:
    """One world that starts over for each draw, and the records of all."""

    state: Database
    archive: Path
    world: World = field(default_factory=World)

    def start_over(
        self, case: Case, lifecycle: str, kind: Callable[[Group], None], seed: int
    ) -> None:
        """Of every second seed what the action needs was done before, on a calm AWS."""
        core = self.world.emulator.core
        self.world.emulator.start_over()
        core.hardness, core.timings = CALM, Timings()
        self.world.messenger.active.clear()
        group = Group(GROUP, _MINIMUM, 12, 6, target_groups=[target_group_arn("web")])
        core.world.add_group(group, _HOSTS, self.world.clock() - 86_400)
        core.world.security_groups[ISOLATING] = SecurityGroup(ISOLATING)
        self.world.former_weights()
        if seed % 2:
            case.before(self.world, GROUP if case.of_group else _HOSTS[0])
            self.world.clock.now += 60
            self.world.emulator.pass_time()
            group.activities.clear()
        elif lifecycle != "InService":
            group.members[_HOSTS[0]].lifecycle = lifecycle
            if "Standby" in lifecycle or "Detach" in lifecycle:
                group.desired -= 1
        kind(group)
        # A host that boots for longer than a health check waits.
        core.hardness, core.timings = harsh(seed), Timings(boot_s=90.0)
        core.chance.seed(seed)

    def act(self, case: Case) -> str:
        """The outcome's name; a read that AWS did not answer has its error's."""
        action, run_id = CATALOG[case.action], str(ULID())
        step = Step(
            run_id=run_id,
            key=StepKey(StepKind.LADDER, 0),
            action=action,
            target=GROUP if case.of_group else _HOSTS[0],
            params=case.params(self.world),
            playbook="test",
            group="" if case.of_group else GROUP,
            cooldown_s=0,
            bounds=Bounds(percent=34, min_healthy=_MINIMUM),
            counts=False,
        )
        acting = replace(
            executor(self.world.aws, self.state.write, self.world.clock, self.world.messenger),
            evidence=Captures(
                archive=lambda: FolderArchive(self.archive),
                redact=Redaction(),
                clock=self.world.clock,
            ),
        )
        try:
            result = acting.execute(step)
            # As its run does, which looks at a step again and again.
            for _ in range(4):
                if isinstance(result, Intent):
                    self.world.clock.now += 5
                    result = acting.advance(step, acting.settle_lost(step, result))
        except (*AWS_ERRORS, NotActionableError) as error:
            return type(error).__name__
        finally:
            with self.state.write() as connection:
                claims.release(connection, run_id)
        if isinstance(result, Refusal):
            return str(result.reason)
        if result.outcome in {Outcome.FAILED, Outcome.UNKNOWN}:
            assert result.error
        return str(result.outcome)

    def pass_minutes(self) -> None:
        """Until the group has done what it does about the step; it never falls short meanwhile."""
        groups = self.world.emulator.groups
        for _ in range(20):
            self.world.clock.now += 30
            assert len(self.world.in_service()) >= _MINIMUM
            groups.check(self.world.group)
            groups.rebalance(self.world.group)

    def failing(self) -> set[str]:
        """The members of a zone that fails: a group with ELB checks replaces them by itself."""
        groups = self.world.emulator.world.target_groups.values()
        return {member for group in groups for member in group.states}

    def terminated(self) -> set[str]:
        """The members that the group terminated."""
        begins = "Terminating EC2 instance: "
        return {
            activity["Description"].removeprefix(begins)
            for activity in self.world.group.activities
            if activity["Description"].startswith(begins)
        }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fuzz")
    state = database(f"sqlite:///{folder}/state.db")
    state.migrate("state")
    yield Fleet(state, folder / "archive")
    state.engine.dispose()


@given(
    case=st.sampled_from(_CASES),
    # In most other states an action is refused.
    lifecycle=st.just("InService") | st.sampled_from(_LIFECYCLE.enum),
    kind=st.sampled_from(_KINDS),
    seed=st.integers(0, 1_000),
)
@settings(deadline=None)
def test_an_act_ends_with_a_name_and_terminates_only_whom_it_names(
    fleet: Fleet, case: Case, lifecycle: str, kind: Callable[[Group], None], seed: int
) -> None:
    """Whoever is already on the way out is no one's termination."""
    fleet.start_over(case, lifecycle, kind, seed)
    assert fleet.act(case)
    fleet.pass_minutes()
    if case.action != "rollback_instance_refresh":
        # It replaces whom the refresh has launched.
        terminated = fleet.terminated() - fleet.failing()
        assert terminated <= set(_TERMINATES.get(case.action, ())), case.action


def test_every_action_is_drawn() -> None:
    assert {case.action for case in _CASES} == CATALOG.keys()
