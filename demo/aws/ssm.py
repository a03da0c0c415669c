"""Systems Manager's commands, which change the simulated hosts.

As in AWS, a command takes a moment, and GetCommandInvocation fails right after it was sent.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

OPERATIONS = frozenset(
    {
        "DescribeInstanceInformation",
        "GetCommandInvocation",
        "ListCommands",
        "SendCommand",
    }
)
_HIDDEN_S, _LASTS_S = 0.3, 2.0


class CommandError(Exception):
    """A refusal; `code` as AWS names it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class _Command:
    id: str
    instance_id: str
    document: str
    parameters: Mapping[str, Any]
    comment: str
    sent: float
    status: str = "InProgress"


@dataclass
class Commands:
    """All commands; `run` runs a document on a host, `online` says whether its agent is online."""

    run: Callable[[str, str, Mapping[str, Any]], bool]
    online: Callable[[str], bool]
    speed: float = 1.0
    _all: list[_Command] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def answer(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to the operation, as JSON. Raises CommandError."""
        match operation:
            case "SendCommand":
                return {"Command": self._send(parameters)}
            case "ListCommands":
                with self._lock:
                    instance_id = parameters["InstanceId"]
                    sent = [command for command in self._all if command.instance_id == instance_id]
                return {"Commands": [_view(command) for command in reversed(sent)]}
            case "DescribeInstanceInformation":
                online = [
                    {"InstanceId": instance_id, "PingStatus": "Online", "PlatformType": "Linux"}
                    for condition in parameters["Filters"]
                    for instance_id in condition["Values"]
                    if self.online(instance_id)
                ]
                return {"InstanceInformationList": online}
        return self._invocation(parameters)

    def _send(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        (instance_id,) = parameters["InstanceIds"]
        if not self.online(instance_id):
            raise CommandError("InvalidInstanceId")
        command = _Command(
            id=str(uuid4()),
            instance_id=instance_id,
            document=parameters["DocumentName"],
            parameters=parameters.get("Parameters", {}),
            comment=parameters.get("Comment", ""),
            sent=time.time(),
        )
        with self._lock:
            self._all.append(command)
        timer = threading.Timer(_LASTS_S / self.speed, self._execute, [command])
        timer.daemon = True
        timer.start()
        return _view(command)

    def _execute(self, command: _Command) -> None:
        succeeded = self.run(command.instance_id, command.document, command.parameters)
        command.status = "Success" if succeeded else "Failed"

    def _invocation(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            commands = {command.id: command for command in self._all}
        command = commands.get(parameters["CommandId"])
        if command is None or time.time() - command.sent < _HIDDEN_S / self.speed:
            raise CommandError("InvocationDoesNotExist")
        return {**_view(command), "InstanceId": command.instance_id, "ResponseCode": 0}


def _view(command: _Command) -> dict[str, Any]:
    return {
        "CommandId": command.id,
        "DocumentName": command.document,
        "Comment": command.comment,
        "InstanceIds": [command.instance_id],
        "RequestedDateTime": command.sent,
        "Status": command.status,
    }
