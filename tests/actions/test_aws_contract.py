"""Every state and error that AWS's models have is known here, and read as its guide says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import OperationModel, StringShape
from botocore.session import Session

from actions.aws.causes import Cause
from actions.aws.client_set import Aws
from actions.aws.errors import classify
from actions.aws.group_activities import ENDED
from actions.aws.groups import Member
from actions.aws.host_status import EVENT_CODES, HostStatus
from actions.aws.service_models import OPERATIONS, new_session
from actions.aws.target_health import Target
from actions.base import Progress
from actions.catalog.ec2._power import RUNNING, STOPPED
from actions.catalog.instance_refresh._refreshes import progress_of
from tests.actions import aws_contract as contract

_ACTIONS = Path(__file__).parents[2] / "actions"
_CLIENTS = {*Aws.__annotations__, "sts", "iam"}
_ENUMS = {
    ("autoscaling", "LifecycleState"): contract.LIFECYCLE,
    ("autoscaling", "InstanceRefreshStatus"): contract.REFRESHES,
    ("autoscaling", "ScalingActivityStatusCode"): contract.ACTIVITIES,
    ("ec2", "InstanceStateName"): contract.INSTANCE_STATES,
    ("ec2", "SummaryStatus"): contract.CHECKS,
    ("ec2", "EventCode"): EVENT_CODES,
    ("elbv2", "TargetHealthStateEnum"): contract.TARGET_STATES,
    ("elbv2", "TargetHealthReasonEnum"): contract.TARGET_REASONS,
    ("elbv2", "TargetTypeEnum"): contract.TARGET_TYPES,
    ("ssm", "CommandInvocationStatus"): contract.COMMANDS,
    ("ssm", "PingStatus"): contract.PINGS,
    ("ssm", "PlatformType"): contract.PLATFORMS,
}
# Attributes of a client that are no operations.
_NO_CALLS = frozenset({"exceptions", "get_paginator"})
_SESSION = Session()
_ERRORS = sorted(
    {
        (service, code)
        for service, operations in contract.OPERATIONS.items()
        for codes in operations.values()
        for code in codes
    }
)


def _calls() -> Iterator[tuple[str, str]]:
    """Service and method of each call that the code makes, or hands over to be made."""
    for path in _ACTIONS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=owner, attr="get_paginator")):
                    (argument,) = node.args
                    method = ast.literal_eval(argument)
                case ast.Attribute(value=owner, attr=method) if method not in _NO_CALLS:
                    pass
                case _:
                    continue
            name = getattr(owner, "attr", "") or getattr(owner, "id", "")
            if name in _CLIENTS:
                yield name.removesuffix("_once").replace("_", "-"), method


def _operation(service: str, method: str) -> OperationModel:
    model = _SESSION.get_service_model(service)
    (name,) = [name for name in model.operation_names if xform_name(name) == method]
    return model.operation_model(name)


def _codes(operation: OperationModel) -> set[str]:
    return {
        shape.metadata.get("error", {}).get("code", shape.name) for shape in operation.error_shapes
    }


def _status(service: str, code: str) -> int:
    """The HTTP status of an error, by the model; where it has none, by the name."""
    for shape in _SESSION.get_service_model(service).error_shapes:
        error = shape.metadata.get("error", {})
        if code == error.get("code", shape.name) and "httpStatusCode" in error:
            return int(error["httpStatusCode"])
    return 500 if code == "InternalServerError" else 400


def _error(code: str, status: int) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": metadata}
    return ClientError(answer, "Operation")  # type: ignore[arg-type] # without the request's id


def test_every_call_is_known_with_its_errors() -> None:
    """A call that is added, and an error that an SDK adds, are looked at by a person."""
    modelled: dict[str, dict[str, set[str]]] = {}
    for service, method in _calls():
        operation = _operation(service, method)
        modelled.setdefault(service, {})[operation.name] = _codes(operation)
    reviewed = {
        service: {name: set(codes) for name, codes in operations.items()}
        for service, operations in contract.OPERATIONS.items()
    }
    assert modelled == reviewed


def test_the_clients_have_these_operations_alone() -> None:
    """Models are loaded once, and without what is never called: a fleet has many clients."""
    called = {name: frozenset(contract.OPERATIONS[name]) for name in OPERATIONS}
    assert called == OPERATIONS
    session = new_session()
    for service, names in OPERATIONS.items():
        client = session.create_client(service, region_name="us-east-1")
        assert frozenset(client.meta.service_model.operation_names) == names
    assert session.get_component("data_loader") is new_session().get_component("data_loader")


@pytest.mark.parametrize(("service", "shape"), _ENUMS)
def test_every_state_is_known(service: str, shape: str) -> None:
    model = _SESSION.get_service_model(service).shape_for(shape)
    assert isinstance(model, StringShape)
    assert set(model.enum) == set(_ENUMS[service, shape])


def test_only_a_check_that_failed_is_failed_hardware() -> None:
    for status, failed in contract.CHECKS.items():
        host = HostStatus(id="i-1", system=status, instance="ok", ebs="ok")
        assert bool(host.failed_check) is failed


@pytest.mark.parametrize(("service", "code"), _ERRORS)
def test_an_error_is_read_as_its_model_says(service: str, code: str) -> None:
    """Its cause decides whether the call is repeated, and what a person is told to do."""
    failure = classify(_error(code, _status(service, code)))
    assert failure.cause is contract.CAUSES.get(code, Cause.REQUEST)
    assert failure.refused is (code not in contract.MAY_HIDE_A_CHANGE)


@pytest.mark.parametrize(("code", "cause"), contract.EC2_ERRORS.items())
def test_an_error_of_ec2_is_read_as_its_guide_says(code: str, cause: Cause) -> None:
    failure = classify(_error(code, 400))
    assert (failure.cause, failure.refused) == (cause, True)


@pytest.mark.parametrize(("state", "meaning"), contract.LIFECYCLE.items())
def test_a_member_serves_in_one_state_alone(state: str, meaning: contract.Lifecycle) -> None:
    """In every other one its group is at work on it."""
    member = Member(id="i-1", az="a", lifecycle=state, healthy=True)
    assert member.serves is (meaning is contract.Lifecycle.SERVES)


def test_an_instance_is_on_off_or_gone() -> None:
    by_power = {
        power: {name for name, of in contract.INSTANCE_STATES.items() if of is power}
        for power in contract.Power
    }
    assert by_power[contract.Power.ON] == RUNNING
    assert by_power[contract.Power.OFF] == STOPPED


@pytest.mark.parametrize("state", contract.TARGET_STATES)
def test_a_target_serves_and_is_registered(state: str) -> None:
    target = Target(id="i-1", port=80, state=state)
    assert (target.serves, target.registered) == contract.TARGET_STATES[state]


@pytest.mark.parametrize("reason", contract.TARGET_REASONS)
def test_a_reason_tells_an_unregistered_target_from_an_unused_one(reason: str) -> None:
    state, registered, used = contract.TARGET_REASONS[reason]
    target = Target(id="i-1", port=80, state=state, reason=reason)
    assert (target.registered, target.used) == (registered, used)
    assert target.serves is contract.TARGET_STATES[state][0]


@pytest.mark.parametrize(("status", "progress"), contract.REFRESHES.items())
def test_a_refresh_is_under_way_or_ended(status: str, progress: Progress) -> None:
    assert progress_of(status) is progress
    assert (status in ENDED) is (progress is not Progress.UNDERWAY)


@pytest.mark.parametrize("of", ["LifecycleState", "SomethingNew:Wait"])
def test_an_unknown_state_serves_nobody(of: str) -> None:
    member = Member(id="i-1", az="a", lifecycle=of, healthy=True)
    assert not member.serves
    assert not Target(id="i-1", port=80, state=of).serves
    assert progress_of(of) is Progress.UNDERWAY
