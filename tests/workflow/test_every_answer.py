"""Every action, and everything that AWS's models and guides let it answer: one result, one next.

Only what ran to its end, while metrics still show the fault, leads to a heavier step.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from sqlalchemy import Connection
from ulid import ULID

from actions.assurance.iam_policy import is_read
from actions.aws.causes import Cause, Failure
from actions.aws.errors import NOT_AUTHORIZED, classify
from actions.base import Outcome, StepResult
from actions.catalog.registry import CATALOG
from actions.execution import claims
from actions.execution.ledger import Intent
from actions.execution.records import Bounds
from actions.execution.step import Step
from actions.place import HOME
from actions.step_key import StepKey, StepKind
from demo.aws.calls import Call
from demo.aws.world import AwsError
from receiver.db.database import Database
from receiver.evidence.prometheus.client import Prometheus
from receiver.runs import intake
from receiver.runs.model import PlannedVerification, Run
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.payload import Alert
from receiver.workflow.step_results import AwsAnswer, Health, Next, judge, judge_refused
from receiver.workflow.verification import Verification
from tests import fake_prometheus
from tests.actions import aws_contract as contract
from tests.actions.catalog.catalog_fixtures import CASES, GROUP, Case, World
from tests.executors import executor
from tests.plans import stored_plan


def _retried(checker: type, name: str) -> list[str]:
    """The codes that botocore's own retries name."""
    codes: list[str] = list(getattr(checker, name))
    assert codes
    return codes


# What any call may answer.
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
_COMMON: Mapping[str, int] = {
    **dict.fromkeys(NOT_AUTHORIZED, 403),
    **dict.fromkeys(_retried(ThrottledRetryableChecker, "_THROTTLED_ERROR_CODES"), 400),
    **dict.fromkeys(_retried(TransientRetryableChecker, "_TRANSIENT_ERROR_CODES"), 400),
    "InternalFailure": 500,
    "MalformedHttpRequestException": 400,
    "RequestExpired": 400,
    "RequestTimeTooSkewed": 403,
    "ServiceUnavailable": 503,
    "ValidationError": 400,
    **dict.fromkeys(contract.EC2_ERRORS, 400),
    "ANewCodeOfANewRelease": 400,
    "ANewFaultOfANewRelease": 500,
}
_SERVICES = {
    operation: service
    for service, operations in contract.OPERATIONS.items()
    for operation in operations
}
_ON_ILL = (Health.ILL, Health.WORSE)


@pytest.fixture
def world() -> World:
    return World()


def _prepare(case: Case, world: World) -> tuple[str, Mapping[str, Any]]:
    """Its target in the state that it needs, and its parameters."""
    target = GROUP if case.of_group else world.in_service()[0]
    case.before(world, target)
    return target, case.params(world)


def _execute(
    case: Case, world: World, state: Database, target: str, params: Mapping[str, Any]
) -> Intent:
    step = Step(
        run_id=str(ULID()),
        key=StepKey(StepKind.LADDER, 0),
        action=CATALOG[case.action],
        target=target,
        params=params,
        playbook="test",
        group="" if case.of_group else GROUP,
        cooldown_s=0,
        counts=False,
        bounds=Bounds(percent=100, min_healthy=0),
    )
    intent = executor(world.aws, state.write, world.clock, world.messenger).execute(step)
    assert isinstance(intent, Intent), intent
    _let_go(state.write, step.run_id)
    return intent


def _let_go(begin: Callable[[], AbstractContextManager[Connection]], run_id: str) -> None:
    with begin() as connection:
        claims.release(connection, run_id)


def _modelled(name: str) -> Iterator[tuple[str, int]]:
    """The errors of each call that changes something, its safeguard's among them."""
    action = CATALOG[name]
    permissions = {*action.permissions, *(action.safeguard.permissions if action.safeguard else ())}
    calls = {each.partition(":")[2] for each in permissions if not is_read(each)}
    # AWS itself makes the others.
    for operation in sorted(calls & _SERVICES.keys()):
        for code in _errors_of(_SERVICES[operation], operation):
            yield code, 500 if code in contract.MAY_HIDE_A_CHANGE else 400


def _errors_of(service: str, operation: str) -> Iterator[str]:
    yield from contract.OPERATIONS[service][operation]
    if service == "ec2":
        yield from contract.EC2_ERRORS


def _before_sending() -> Iterator[BotoCoreError]:
    """One of each class that botocore raises for a call."""
    for _, kind in inspect.getmembers(exceptions, inspect.isclass):
        if issubclass(kind, BotoCoreError):
            error = kind.__new__(kind)
            error.args = (kind.__name__,)
            yield error


def _classified(error: AwsError | BotoCoreError) -> Failure:
    if isinstance(error, BotoCoreError):
        return classify(error)
    metadata = {"HTTPStatusCode": error.status}
    answer: Any = {"Error": {"Code": error.code}, "ResponseMetadata": metadata}
    return classify(exceptions.ClientError(answer, "Operation"))


def _common() -> Iterator[AwsError | BotoCoreError]:
    """One of each category: the rest of the program sees no more of an error than that."""
    errors: list[AwsError | BotoCoreError] = [
        *(AwsError(code, code, status) for code, status in _COMMON.items()),
        *_before_sending(),
    ]
    seen = {
        (failure.refused, failure.cause): at for at, failure in enumerate(map(_classified, errors))
    }
    return (errors[at] for at in seen.values())


def test_every_category_is_among_the_common_errors() -> None:
    assert {_classified(error).cause for error in _common()} == set(Cause)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
def test_no_error_of_a_call_leads_to_a_heavier_step(
    case: Case, world: World, state: Database
) -> None:
    """A refusal is repeated if it passes, else a person is called; what may have happened waits."""
    target, params = _prepare(case, world)
    sent = len(world.emulator.calls)
    modelled = (AwsError(code, code, status) for code, status in _modelled(case.action))
    for error in (*modelled, *_common()):

        def trouble(operation: str, when: str, error: AwsError | BotoCoreError = error) -> None:
            if when == "before" and not operation.startswith(("Describe", "Get", "List", "Lookup")):
                raise error

        world.emulator.trouble = trouble
        intent = _execute(case, world, state, target, params)
        name = getattr(error, "code", type(error).__name__)
        if intent.outcome is Outcome.FAILED:
            assert intent.result is StepResult.NEVER_RAN, name
            passes = intent.cause is Cause.PASSING
            assert judge_refused(intent, late=False) == (
                StepResult.NEVER_RAN,
                Next.RETRY if passes else Next.PERSON,
            ), name
            assert judge_refused(intent, late=True).next is Next.PERSON, name
        else:
            assert intent.outcome is Outcome.UNKNOWN, name
            assert intent.result is not StepResult.DID_NOT_HELP, name
            assert not _classified(error).refused or case.action in _CANNOT_TELL, name
        assert len(world.emulator.calls) == sent, name


# Containment is several calls: where one is refused, another may have happened. An earlier attempt
# at a notification may have arrived.
_CANNOT_TELL = frozenset(
    {
        "page",
        "quarantine_instance",
        "release_quarantine",
        "emergency_shutdown",
        "end_emergency_shutdown",
    }
)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("health", Health)
def test_what_may_have_happened_leads_to_no_heavier_step(health: Health, *, late: bool) -> None:
    assert judge(AwsAnswer.UNKNOWN, health, late=late).next is not Next.NEXT_RUNG


# The states in which AWS is done with an action, and those in which it ran and failed.
_Answers = Mapping[str, tuple[frozenset[str], frozenset[str]]]
_NONE: frozenset[str] = frozenset()
_LEFT = frozenset({"Terminated", "Detached", "Terminating:Retained"})
_BY_LIFECYCLE: _Answers = {
    "replace_instance": (_LEFT, _NONE),
    "detach_instance": (_LEFT, _NONE),
    "enter_standby": (frozenset({"Standby"}), _NONE),
    "exit_standby": (frozenset({"InService"}), _NONE),
    "attach_instance": (frozenset({"InService"}), _NONE),
}
_BY_POWER: _Answers = {
    "stop_instance": (frozenset({"stopped"}), _NONE),
    "start_instance": (frozenset({"running"}), _NONE),
    "emergency_shutdown": (frozenset({"stopped"}), _NONE),
    "end_emergency_shutdown": (frozenset({"running"}), _NONE),
}
_BY_REFRESH: _Answers = {
    **dict.fromkeys(
        ("start_instance_refresh", "restore_version"),
        (
            frozenset({"Successful"}),
            frozenset({"Failed", "RollbackFailed", "RollbackSuccessful"}),
        ),
    ),
    "rollback_instance_refresh": (
        frozenset({"RollbackSuccessful"}),
        frozenset({"Failed", "RollbackFailed", "Successful", "Cancelled"}),
    ),
    "cancel_instance_refresh": (
        frozenset({"Cancelled"}),
        frozenset({"Failed", "RollbackFailed", "Successful", "RollbackSuccessful"}),
    ),
}
_BY_COMMAND: _Answers = dict.fromkeys(
    ("restart_service", "run_document"),
    (
        frozenset({"Success/Success"}),
        frozenset({"Failed/Failed", "TimedOut/ExecutionTimedOut", "TimedOut/Execution Timed Out"}),
    ),
)
_BY_TARGET: _Answers = {
    "register_target": (
        frozenset({"healthy/", "unavailable/Target.HealthCheckDisabled", "unused/Target.NotInUse"}),
        _NONE,
    ),
    "deregister_target": (frozenset({"unused/Target.NotRegistered"}), _NONE),
}


def _lifecycle(target: str, state: str) -> Callable[[Call, dict[str, Any]], None]:
    def change(_: Call, answer: dict[str, Any]) -> None:
        for group in answer.get("AutoScalingGroups", []):
            for member in group["Instances"]:
                if member["InstanceId"] == target:
                    member["LifecycleState"] = state

    return change


def _power(target: str, state: str) -> Callable[[Call, dict[str, Any]], None]:
    def change(_: Call, answer: dict[str, Any]) -> None:
        for reservation in answer.get("Reservations", []):
            for instance in reservation["Instances"]:
                if instance["InstanceId"] == target:
                    instance["State"] = {"Name": state, "Code": 0}

    return change


def _refresh(_: str, state: str) -> Callable[[Call, dict[str, Any]], None]:
    def change(_: Call, answer: dict[str, Any]) -> None:
        for refresh in answer.get("InstanceRefreshes", [])[:1]:
            refresh["Status"] = state

    return change


def _command(_: str, state: str) -> Callable[[Call, dict[str, Any]], None]:
    def change(call: Call, answer: dict[str, Any]) -> None:
        if call.operation == "GetCommandInvocation":
            answer["Status"], answer["StatusDetails"] = [*state.split("/"), ""][:2]

    return change


def _health(target: str, state: str) -> Callable[[Call, dict[str, Any]], None]:
    def change(_: Call, answer: dict[str, Any]) -> None:
        for described in answer.get("TargetHealthDescriptions", []):
            if described["Target"]["Id"] == target:
                name, reason = [*state.split("/"), ""][:2]
                described["TargetHealth"] = {"State": name, "Reason": reason}

    return change


_STATES: tuple[tuple[_Answers, Callable[..., Any], list[str]], ...] = (
    (_BY_LIFECYCLE, _lifecycle, list(contract.LIFECYCLE)),
    (_BY_POWER, _power, list(contract.INSTANCE_STATES)),
    (_BY_REFRESH, _refresh, list(contract.REFRESHES)),
    (_BY_COMMAND, _command, ["/".join(status) for status in contract.COMMAND_DETAILS]),
    (
        _BY_TARGET,
        _health,
        [
            *(f"{state}/{reason}" for reason, (state, *_) in contract.TARGET_REASONS.items()),
            "healthy/",
            "unhealthy.draining/",
        ],
    ),
)
_BY_ACTION = {
    action: (change, states, *ends)
    for answers, change, states in _STATES
    for action, ends in answers.items()
}
# Others show no state of their own: their call is all of their effect, or only metrics show it.
_WITHOUT_STATE = frozenset(
    {
        "cancel_zonal_shift",
        "page",
        "quarantine_instance",
        "reboot_instance",
        "release_quarantine",
        "resume_processes",
        "scale_in",
        "set_desired_capacity",
        "shift_traffic",
        "start_zonal_shift",
        "suspend_processes",
    }
)


def test_each_action_is_tried_in_each_of_its_states() -> None:
    assert _BY_ACTION.keys() | _WITHOUT_STATE == {case.action for case in CASES}


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.action in _BY_ACTION], ids=lambda case: case.action
)
def test_only_a_state_that_ends_a_step_leads_to_a_heavier_one(
    case: Case, world: World, state: Database
) -> None:
    """In every other state AWS is still at work, or it never began."""
    change, states, done, failed = _BY_ACTION[case.action]
    target, params = _prepare(case, world)
    intent = _execute(case, world, state, target, params)
    assert intent.outcome is Outcome.CHANGED
    verification = Verification(
        executor=executor(world.aws, state.write, world.clock, world.messenger),
        prometheus=Prometheus(
            "http://prometheus",
            client=fake_prometheus.client(lambda _: _still_ill(world), world.clock),
            clock=world.clock,
        ),
        members=lambda *_: "",
    )
    run = _run_of(case, intent, world.clock())
    world.clock.now += 1
    for shown in (*states, "ANewState"):
        world.emulator.on_answer = change(target, shown)
        look = verification.look(run, intent, world.clock())
        aws = look.aws
        assert look.health is not Health.RECOVERED
        climbs = {judge(aws, ill, late=True).next is Next.NEXT_RUNG for ill in _ON_ILL}
        assert True not in climbs or shown in done | failed, (shown, aws)
        if shown in (done | failed) - _LEFT:
            assert climbs == {True}, (shown, aws)


def _still_ill(world: World) -> httpx.Response:
    result = [{"metric": {}, "value": [world.clock(), "0"]}]
    data = {"resultType": "vector", "result": result}
    return httpx.Response(200, json={"status": "success", "data": data})


def _run_of(case: Case, intent: Intent, now: float) -> Run:
    alert = Alert(
        key="k",
        fingerprint="0" * 16,
        firing=True,
        labels={"alertname": "HighCPU"},
        annotations={},
        starts_at=now,
        ends_at=None,
    )
    run = intake.preview(QueuedAlert(id=intent.run_id, received_at=now, alert=alert), now)
    plan = stored_plan(
        action=case.action,
        target=intent.target,
        group="" if case.of_group else GROUP,
        params=dict(intent.params),
        verify=PlannedVerification(expr="recovered", worse=None, for_s=10, timeout_s=60),
    )
    return replace(run, **vars(HOME), plan=plan, steps_begun=1, verify_until=now + 3_600)


def test_an_effect_that_metrics_alone_show_has_the_time_of_two_scrapes(
    world: World, state: Database
) -> None:
    """EC2 may reboot a host the hard way after four minutes, and it is scraped every 30 s."""
    case = next(case for case in CASES if case.action == "reboot_instance")
    target, params = _prepare(case, world)
    intent = _execute(case, world, state, target, params)

    def answer(request: httpx.Request) -> httpx.Response:
        return fake_prometheus.freshness(request, world.clock() - 1, 30.0) or _still_ill(world)

    verification = Verification(
        executor=executor(world.aws, state.write, world.clock, world.messenger),
        prometheus=Prometheus(
            "http://prometheus",
            client=fake_prometheus.client(answer, world.clock),
            clock=world.clock,
        ),
        members=lambda *_: "",
    )
    began = world.clock()
    until = began + CATALOG[case.action].takes_up_to_s
    run = replace(_run_of(case, intent, began), verify_until=until)
    late = {}
    for after_s in (0, 55, 65):
        world.clock.now = until + after_s
        late[after_s] = verification.look(run, intent, world.clock()).late
    assert late == {0: False, 55: False, 65: True}
