"""Commands: which are sent, and how far they went."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from actions.aws.target_errors import NotActionableError
from actions.base import Action, CallResult, Outcome, Progress
from actions.catalog.registry import CATALOG
from demo.aws.world import AwsError
from tests.actions.catalog.catalog_fixtures import HOST, TOKEN, World

_restart, _document = CATALOG["restart_service"], CATALOG["run_document"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("action", [_restart, _document], ids=lambda action: action.name)
def test_a_command_needs_an_agent_that_listens(action: Action, world: World) -> None:
    """Otherwise it would wait, and run when nobody expects it any more."""
    assert not action.observe(world.call()).already
    for agent in ("", "ConnectionLost", "Inactive"):
        world.host.agent = agent
        with pytest.raises(NotActionableError, match="is not online"):
            action.observe(world.call())
    world.host.state = "stopped"
    with pytest.raises(NotActionableError, match="is stopped"):
        action.observe(world.call())


@pytest.mark.parametrize("action", [_restart, _document], ids=lambda action: action.name)
def test_a_document_for_linux_is_sent_nowhere_else(action: Action, world: World) -> None:
    """Its step would be skipped, and the command told as a success."""
    world.host.platform = "Windows"
    with pytest.raises(NotActionableError, match="runs Windows: documents are for Linux"):
        action.observe(world.call())


def test_a_list_is_a_string_list_of_the_document(world: World) -> None:
    parameters = {"Paths": ["/var/log", "/srv"]}
    params = _document.params.model_validate(
        {"document": "SmartCloudOps-Own", "parameters": parameters}
    )
    _document.act(world.call(**params.model_dump()))
    (sent,) = world.sent("SendCommand")
    assert sent["Parameters"]["Paths"] == ["/var/log", "/srv"]


def test_a_command_is_sent_with_parameters_and_its_step(world: World) -> None:
    """Values go as parameters of the document; the comment is how it is found again."""
    made = _restart.act(world.call(service="app"))
    (command,) = world.emulator.world.commands
    assert made["command_id"] == command["CommandId"]
    assert world.sent("SendCommand") == [
        {
            "InstanceIds": [HOST],
            "DocumentName": "SmartCloudOps-RestartService",
            "Comment": TOKEN,
            "TimeoutSeconds": 60,
            "Parameters": {"Service": ["app"], "Token": [TOKEN]},
        }
    ]


def test_a_token_of_ones_own_does_not_pass_for_the_steps(world: World) -> None:
    """Whatever a playbook calls `Token`, the document is guarded by the step's."""
    parameters = {"Path": "/var/log", "Token": "mine"}
    _document.act(world.call(document="SmartCloudOps-Own", parameters=parameters))
    (sent,) = world.sent("SendCommand")
    assert sent["Parameters"] == {"Path": ["/var/log"], "Token": [TOKEN]}


def test_a_command_that_was_sent_is_not_sent_again(world: World) -> None:
    """It is found by the comment that is just this step's, and one that is not there is unknown."""
    for comment in (f"{TOKEN}0", ""):
        world.aws.ssm_once.send_command(
            InstanceIds=[HOST], DocumentName="SmartCloudOps-Own", Comment=comment
        )
    call = world.call(service="app")
    assert _restart.read_back(call).outcome is Outcome.UNKNOWN
    made = _restart.act(call)
    assert _restart.act(call) == made
    assert _restart.read_back(call) == CallResult(Outcome.CHANGED, made)
    assert len(world.sent("SendCommand")) == 3


@pytest.mark.parametrize(
    ("status", "details", "progress"),
    [
        ("Pending", "Pending", Progress.UNDERWAY),
        ("InProgress", "InProgress", Progress.UNDERWAY),
        ("Delayed", "Delayed", Progress.UNDERWAY),
        ("Cancelling", "Cancelling", Progress.UNDERWAY),
        ("Success", "Success", Progress.DONE),
        ("Failed", "Failed", Progress.FAILED),
        ("TimedOut", "ExecutionTimedOut", Progress.FAILED),
        ("TimedOut", "Execution Timed Out", Progress.FAILED),
        ("TimedOut", "DeliveryTimedOut", Progress.NEVER_RAN),
        ("Failed", "Undeliverable", Progress.NEVER_RAN),
        ("Failed", "AccessDenied", Progress.NEVER_RAN),
        ("Failed", "InvalidPlatform", Progress.NEVER_RAN),
        ("Failed", "Terminated", Progress.NEVER_RAN),
        ("Failed", "SomethingNew", Progress.FAILED),
        ("Cancelled", "Cancelled", Progress.NEVER_RAN),
    ],
)
@pytest.mark.parametrize("began", ["", "2026-11-29T07:00:00Z"])
def test_a_command_goes_as_far_as_its_invocation_says(
    world: World, status: str, details: str, progress: Progress, began: str
) -> None:
    """Only a success is done; what was cancelled, or expired, never ran unless it had begun."""
    if began and progress is Progress.NEVER_RAN:
        progress = Progress.UNKNOWN
    call = world.call(service="app")
    call = replace(call, made=_restart.act(call))
    world.clock.now += 1
    world.emulator.pass_time()
    command = world.emulator.world.commands[0]
    command |= {"Status": status, "StatusDetails": details, "StartedAt": began}
    assert _restart.progress(call) is progress


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ("InProgress", Progress.UNDERWAY),
        ("Success", Progress.DONE),
        ("Failed", Progress.FAILED),
        # Whether one of its steps had begun is not told.
        ("Cancelled", Progress.UNKNOWN),
    ],
)
def test_a_document_of_several_steps_is_followed_by_its_command(
    world: World, status: str, progress: Progress
) -> None:
    """An invocation is told by its step's name alone; the command's own status is always told."""
    call = world.call(document="SmartCloudOps-Own")
    call = replace(call, made=_document.act(call))
    for _ in range(60):
        world.aws.ssm.send_command(InstanceIds=[HOST], DocumentName="SmartCloudOps-Other")
    command = world.emulator.world.commands[0]
    command |= {"Status": status, "StatusDetails": status}

    def several_steps(operation: str, _: str) -> None:
        if operation == "GetCommandInvocation":
            raise AwsError("InvalidPluginName")

    world.emulator.trouble = several_steps
    assert _document.progress(call) is progress


def test_an_invocation_that_is_not_there_yet_is_waited_for(world: World) -> None:
    """As one is right after sending; any other error is passed on."""
    call = world.call(service="app")
    assert _restart.progress(call) is Progress.UNDERWAY
    call = replace(call, made=_restart.act(call))
    assert _restart.progress(call) is Progress.UNDERWAY

    def denied(operation: str, _: str) -> None:
        if operation == "GetCommandInvocation":
            raise AwsError("AccessDeniedException")

    world.emulator.trouble = denied
    with pytest.raises(ClientError):
        _restart.progress(call)
