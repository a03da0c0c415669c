"""Systems Manager's commands, which do something to the simulated hosts.

They take a moment, and are not listed under their id right after being sent, as in AWS.
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
    """`run` does a document's work on a host and says whether it could; `online` asks its agent."""

    run: Callable[[str, str, Mapping[str, Any]], bool]
    online: Callable[[str], bool]
    speed: float = 1.0
    _all: list[_Command] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def answer(self, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON of an answer. Raises CommandError."""
        match operation:
            case "SendCommand":
                return {"Command": self._send(asked)}
            case "ListCommands":
                with self._lock:
                    mine = [one for one in self._all if one.instance_id == asked["InstanceId"]]
                return {"Commands": [_shown(one) for one in reversed(mine)]}
            case "DescribeInstanceInformation":
                ids = [i for f in asked["Filters"] for i in f["Values"]]
                known = [
                    {"InstanceId": one, "PingStatus": "Online", "PlatformType": "Linux"}
                    for one in ids
                    if self.online(one)
                ]
                return {"InstanceInformationList": known}
        return self._invocation(asked)

    def _send(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        (instance_id,) = asked["InstanceIds"]
        if not self.online(instance_id):
            raise CommandError("InvalidInstanceId")
        command = _Command(
            id=str(uuid4()),
            instance_id=instance_id,
            document=asked["DocumentName"],
            parameters=asked.get("Parameters", {}),
            comment=asked.get("Comment", ""),
            sent=time.time(),
        )
        with self._lock:
            self._all.append(command)
        timer = threading.Timer(_LASTS_S / self.speed, self._execute, [command])
        timer.daemon = True
        timer.start()
        return _shown(command)

    def _execute(self, command: _Command) -> None:
        done = self.run(command.instance_id, command.document, command.parameters)
        command.status = "Success" if done else "Failed"

    def _invocation(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            found = [one for one in self._all if one.id == asked["CommandId"]]
        if not found or time.time() - found[0].sent < _HIDDEN_S / self.speed:
            raise CommandError("InvocationDoesNotExist")
        return {**_shown(found[0]), "InstanceId": found[0].instance_id, "ResponseCode": 0}


def _shown(one: _Command) -> dict[str, Any]:
    return {
        "CommandId": one.id,
        "DocumentName": one.document,
        "Comment": one.comment,
        "InstanceIds": [one.instance_id],
        "RequestedDateTime": one.sent,
        "Status": one.status,
    }
