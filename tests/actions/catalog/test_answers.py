"""Answers are checked: all of their pages, and only what was asked for."""

from dataclasses import replace
from typing import Any

import pytest
from ulid import ULID

from actions.base import Call as ActionCall
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution import claims
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.step_key import StepKey, StepKind
from demo.aws.calls import Call
from receiver.db.database import Database
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, Case, World
from tests.executors import executor

# What AWS lists in pages; "NextToken" may come with an empty one.
_PAGED = {
    "DescribeAutoScalingGroups": "AutoScalingGroups",
    "DescribeInstanceInformation": "InstanceInformationList",
    "DescribeInstances": "Reservations",
    "DescribeNetworkInterfaces": "NetworkInterfaces",
    "DescribeSecurityGroups": "SecurityGroups",
    "DescribeSnapshots": "Snapshots",
    "DescribeVolumes": "Volumes",
    "ListCommands": "Commands",
}


@pytest.fixture
def world() -> World:
    return World()


def _executed(case: Case, world: World, state: Database, target: str) -> Intent:
    step = Step(
        run_id=str(ULID()),
        key=StepKey(StepKind.LADDER, 0),
        action=CATALOG[case.action],
        target=target,
        params=case.params(world),
        playbook="test",
        group="" if case.of_group else GROUP,
        cooldown_s=0,
        bounds=Bounds(percent=100, min_healthy=0),
    )
    intent = executor(world.aws, state.write, world.clock, world.messenger).execute(step)
    with state.write() as connection:
        claims.release(connection, step.run_id)
    assert isinstance(intent, Intent), intent
    return intent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
def test_an_empty_page_is_not_the_last(case: Case, world: World, state: Database) -> None:
    """An answer may have no item and a token: there is more.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html#api-pagination
    """
    target = GROUP if case.of_group else world.in_service()[0]
    case.before(world, target)

    def empty_first(call: Call, answer: dict[str, Any]) -> None:
        if call.operation in _PAGED and "NextToken" not in call.parameters:
            answer.update({_PAGED[call.operation]: [], "NextToken": "0"})

    world.emulator.on_answer = empty_first
    assert _executed(case, world, state, target).outcome is Outcome.CHANGED


def test_a_command_on_a_later_page_is_found(world: World) -> None:
    """Or it would be sent a second time."""
    action = CATALOG["restart_service"]
    target = world.in_service()[0]
    call = ActionCall(
        aws=world.aws,
        messenger=world.messenger,
        target=target,
        params={"service": "web"},
        token="t/0",
    )
    sent = action.act(call)

    def empty_first(asked: Call, answer: dict[str, Any]) -> None:
        if asked.operation == "ListCommands" and "NextToken" not in asked.parameters:
            answer.update({"Commands": [], "NextToken": "0"})

    world.emulator.on_answer = empty_first
    assert action.act(call) == sent


_OF_INSTANCES = [case for case in CASES if not case.of_group and case.action != "page"]


@pytest.mark.parametrize("case", _OF_INSTANCES, ids=lambda case: case.action)
def test_an_answer_about_another_is_not_believed(case: Case, world: World, state: Database) -> None:
    """An endpoint that ignores a filter returns every resource."""
    target = world.in_service()[0]
    case.before(world, target)
    params = case.params(world)
    sent = len(world.emulator.calls)

    def about_another(_: Call, answer: dict[str, Any]) -> None:
        for reservation in answer.get("Reservations", []):
            for instance in reservation["Instances"]:
                instance["InstanceId"] = "i-0000000000000dead"

    world.emulator.on_answer = about_another
    intent = _executed(replace(case, params=lambda _: params), world, state, target)
    assert (intent.outcome, len(world.emulator.calls)) == (Outcome.FAILED, sent)


def test_a_strangers_interface_is_left_alone(world: World, state: Database) -> None:
    target, other = world.in_service()[:2]
    case = next(case for case in CASES if case.action == "quarantine_instance")
    strangers = dict(world.emulator.world.instances[other].interfaces)

    def with_a_stranger(_: Call, answer: dict[str, Any]) -> None:
        for interface in list(answer.get("NetworkInterfaces", [])):
            (name,) = strangers
            stranger = {"NetworkInterfaceId": name, "Attachment": {"InstanceId": other}}
            answer["NetworkInterfaces"].append(interface | stranger)

    world.emulator.on_answer = with_a_stranger
    assert _executed(case, world, state, target).outcome is Outcome.CHANGED
    assert world.emulator.world.instances[other].interfaces == strangers
