"""Base of the actions that run a command on an instance through Systems Manager.

SendCommand has no client token: the command's comment names the step, and each send first looks for
a command with that comment.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Progress,
    TargetKind,
)

if TYPE_CHECKING:
    from types_boto3_ssm.type_defs import CommandTypeDef

# By the detailed status, because `Failed` and `TimedOut` include commands that never ran.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
_PROGRESS = {
    "Success": Progress.DONE,
    "Failed": Progress.FAILED,
    "ExecutionTimedOut": Progress.FAILED,
    "AccessDenied": Progress.NEVER_RAN,
    "Cancelled": Progress.NEVER_RAN,
    "DeliveryTimedOut": Progress.NEVER_RAN,
    "InvalidPlatform": Progress.NEVER_RAN,
    "Terminated": Progress.NEVER_RAN,
    "Undeliverable": Progress.NEVER_RAN,
}
# The end of a command whose detailed status is not among these.
_ENDED = {
    "Failed": Progress.FAILED,
    "TimedOut": Progress.NEVER_RAN,
    "Cancelled": Progress.NEVER_RAN,
}
# Values of a document's parameters; a list is a StringList.
Parameters: TypeAlias = Mapping[str, str | Sequence[str]]
# The agent must fetch a command within this time: people do not expect it to run later.
_DELIVERY_S = 60
# AWS shows the end of an expired command a little later.
_SHOWN_WITHIN_S = 60.0


class SendsCommand(Action):
    target = TargetKind.INSTANCE
    impact = Impact.DISRUPTIVE
    idempotent = False
    # Delivery, and the default time-out of a shell script.
    takes_up_to_s = _DELIVERY_S + 3_600.0
    cancelled_with = "ssm:CancelCommand"
    permissions = (
        "ec2:DescribeInstances",
        "ssm:CancelCommand",
        "ssm:DescribeInstanceInformation",
        "ssm:GetCommandInvocation",
        "ssm:ListCommands",
        "ssm:SendCommand",
    )

    def observe(self, call: Call) -> Observation:
        """Raises NotActionableError where the agent would not fetch a command now."""
        instance = read_instance(call.aws, call.target)
        if instance.state != "running":
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance can run a command"
            )
        if reason := why_not_reached(call):
            raise NotActionableError(reason)
        return Observation(already=False, before={"launched_at": instance.launched_at})

    def read_back(self, call: Call) -> CallResult:
        """Unknown if the command is not listed, because it may still appear."""
        command = _find(call, "Comment", call.token)
        if command is None:
            return CallResult(Outcome.UNKNOWN)
        return CallResult(Outcome.CHANGED, made_by(command))

    def progress(self, call: Call) -> Progress:
        command_id = call.made.get("command_id")
        if not command_id:
            return Progress.UNDERWAY
        answer = read_invocation(call)
        if answer is None:
            return Progress.UNDERWAY
        status = answer["Status"]
        details = answer.get("StatusDetails", status).replace(" ", "")
        progress = _PROGRESS.get(details) or _ENDED.get(status, Progress.UNDERWAY)
        # A command that is cancelled, or expires, after it began has done a part of its work.
        began = bool(answer.get("ExecutionStartDateTime"))
        return Progress.UNKNOWN if progress is Progress.NEVER_RAN and began else progress

    def lasts_up_to_s(self, call: Call) -> float:
        """Until AWS itself ends the command: the sum of the time-outs of delivery and document.

        https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Command.html
        """
        lasts_s = call.made.get("lasts_s")
        return self.takes_up_to_s if lasts_s is None else lasts_s + _SHOWN_WITHIN_S

    def cancel(self, call: Call) -> None:
        call.aws.ssm.cancel_command(CommandId=call.made["command_id"], InstanceIds=[call.target])


def why_not_reached(call: Call) -> str:
    """Why no document for Linux would run there; empty where one would. Raises botocore's errors.

    On another system its step is skipped, and the command a success.
    https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html
    """
    pages = call.aws.ssm.get_paginator("describe_instance_information").paginate(
        Filters=[{"Key": "InstanceIds", "Values": [call.target]}]
    )
    agents = [
        agent
        for page in pages
        for agent in page.get("InstanceInformationList", [])
        if agent.get("InstanceId") == call.target
    ]
    if [agent.get("PingStatus") for agent in agents] != ["Online"]:
        return f"the SSM agent of {call.target} is not online"
    platform = agents[0].get("PlatformType")
    return "" if platform == "Linux" else f"{call.target} runs {platform}: documents are for Linux"


def send(call: Call, document: str, parameters: Parameters) -> dict[str, Any]:
    """Send the document once for this step. Returns what `made_by` does."""
    return made_by(_find(call, "Comment", call.token) or send_new(call, document, parameters))


def send_new(call: Call, document: str, parameters: Parameters) -> "CommandTypeDef":
    """Send the document, whether or not it was sent before. Raises botocore's errors."""
    answer = call.aws.ssm_once.send_command(
        InstanceIds=[call.target],
        DocumentName=document,
        Comment=call.token,
        TimeoutSeconds=_DELIVERY_S,
        Parameters={
            name: [value] if isinstance(value, str) else [*value]
            for name, value in parameters.items()
        },
    )
    return answer["Command"]


def read_invocation(call: Call) -> Mapping[str, Any] | None:
    """What became of the step's command; None for a moment after it was sent.

    Of a document of several steps GetCommandInvocation tells one step's state, and only by its
    name. The command has its status; when it began is not among it.
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
    """
    command_id = call.made["command_id"]
    try:
        return call.aws.ssm.get_command_invocation(CommandId=command_id, InstanceId=call.target)
    except call.aws.ssm.exceptions.InvocationDoesNotExist:
        return None
    except call.aws.ssm.exceptions.InvalidPluginName:
        command = _find(call, "CommandId", command_id)
        return None if command is None else {**command, "ExecutionStartDateTime": "unknown"}


def made_by(command: "CommandTypeDef") -> dict[str, Any]:
    """The command's id, and how long it may last."""
    made: dict[str, Any] = {"command_id": command.get("CommandId", "")}
    if "ExpiresAfter" in command and "RequestedDateTime" in command:
        lasts = command["ExpiresAfter"] - command["RequestedDateTime"]
        made["lasts_s"] = lasts.total_seconds()
    return made


def _find(call: Call, name: str, value: str) -> "CommandTypeDef | None":
    """The command to the instance that has this value, or None."""
    pages = call.aws.ssm.get_paginator("list_commands").paginate(
        InstanceId=call.target, PaginationConfig={"PageSize": 50}
    )
    for page in pages:
        for command in page.get("Commands", []):
            if command.get(name) == value:
                return command
    return None
