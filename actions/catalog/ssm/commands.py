"""Commands that Systems Manager runs on an instance, found again by their comment.

SendCommand has no client token: the comment names the step, and is looked for before any resend.
"""

from actions.aws.inventory import NotActionableError, read_instance
from actions.base import Call, CallResult, Observation, Outcome, Progress

PERMISSIONS = (
    "ec2:DescribeInstances",
    "ssm:DescribeInstanceInformation",
    "ssm:GetCommandInvocation",
    "ssm:ListCommands",
    "ssm:SendCommand",
)
_PROGRESS = {
    "Success": Progress.DONE,
    "Cancelled": Progress.FAILED,
    "Failed": Progress.FAILED,
    "TimedOut": Progress.FAILED,
    "Undeliverable": Progress.FAILED,
    "Terminated": Progress.FAILED,
    "DeliveryTimedOut": Progress.FAILED,
    "ExecutionTimedOut": Progress.FAILED,
}
_DELIVERY_S = 60


def observe(call: Call) -> Observation:
    """Whether the agent listens."""
    found = read_instance(call.aws, call.target)
    if found.state != "running":
        raise NotActionableError(f"{call.target} is {found.state}, no command reaches it")
    answer = call.aws.ssm.describe_instance_information(
        Filters=[{"Key": "InstanceIds", "Values": [call.target]}]
    )
    states = [one.get("PingStatus") for one in answer.get("InstanceInformationList", [])]
    if states != ["Online"]:
        raise NotActionableError(f"the SSM agent of {call.target} is not online")
    return Observation(already=False, before={"launched_at": found.launched_at})


def send(call: Call, document: str, parameters: dict[str, str]) -> dict[str, str]:
    """Send the document, unless it was; `{"command_id": ...}`."""
    sent = find(call)
    if sent is not None:
        return {"command_id": sent}
    answer = call.aws.ssm_once.send_command(
        InstanceIds=[call.target],
        DocumentName=document,
        Comment=call.token,
        TimeoutSeconds=_DELIVERY_S,
        Parameters={name: [value] for name, value in parameters.items()},
    )
    return {"command_id": answer["Command"].get("CommandId", "")}


def find(call: Call) -> str | None:
    """The id of the command that this step sent, if it did."""
    answer = call.aws.ssm.list_commands(InstanceId=call.target, MaxResults=50)
    for one in answer.get("Commands", []):
        if one.get("Comment") == call.token:
            return one.get("CommandId")
    return None


def read_back(call: Call) -> CallResult:
    """A command that is not listed may yet appear: only one that is there is certain."""
    sent = find(call)
    if sent is None:
        return CallResult(Outcome.UNKNOWN)
    return CallResult(Outcome.CHANGED, {"command_id": sent})


def progress(call: Call) -> Progress:
    command_id = call.made.get("command_id")
    if not command_id:
        return Progress.UNDERWAY
    try:
        answer = call.aws.ssm.get_command_invocation(CommandId=command_id, InstanceId=call.target)
    # Right after sending the invocation is not there yet.
    except call.aws.ssm.exceptions.InvocationDoesNotExist:
        return Progress.UNDERWAY
    return _PROGRESS.get(answer["Status"], Progress.UNDERWAY)
