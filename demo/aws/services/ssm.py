"""Systems Manager's commands: their documents change the hosts, and they may come late or never.

https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.world import AwsError

# How long a document may run; with the request's own time-out it is when a command expires.
_EXECUTION_S = 300.0
# How often a document that runs longer than expected is asked about.
_POLL_S = 0.5
_DELIVERY_S = 3_600.0
_DOCUMENT = re.compile(r"(SmartCloudOps|AWS)-[\w-]+")
_WAITING = frozenset({"Pending", "Delayed"})
_SHOWN = (
    "CommandId",
    "DocumentName",
    "Comment",
    "InstanceIds",
    "RequestedDateTime",
    "ExpiresAfter",
    "Status",
)


@dataclass
class Commands:
    core: Core

    def describe_instance_information(self, request: Mapping[str, Any]) -> dict[str, Any]:
        asked = [value for given in request.get("Filters", ()) for value in given["Values"]]
        nodes = [
            {
                "InstanceId": instance.id,
                "PlatformType": instance.platform,
                "PingStatus": "Online"
                if self.core.listens(instance)
                else instance.agent.replace("Online", "ConnectionLost"),
            }
            for instance in self.core.world.instances.values()
            if instance.agent and (not asked or instance.id in asked)
        ]
        return {"InstanceInformationList": nodes}

    def send_command(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """To a node that is registered; one that does not listen gets it late, or never."""
        (instance_id,) = request["InstanceIds"]
        instance = self.core.world.instances.get(instance_id)
        if instance is None or not instance.agent or instance.state != "running":
            raise AwsError("InvalidInstanceId", f"{instance_id} is not in a valid state")
        document = request["DocumentName"]
        expires_s = request.get("TimeoutSeconds", _DELIVERY_S) + _EXECUTION_S
        if not _DOCUMENT.fullmatch(document):
            raise AwsError("InvalidDocument", f"document {document} does not exist")
        command = {
            "CommandId": f"00000000-0000-4000-8000-{len(self.core.world.commands):012x}",
            "DocumentName": document,
            "Comment": request.get("Comment", ""),
            "InstanceIds": [instance_id],
            "RequestedDateTime": moment(self.core.now),
            "ExpiresAfter": moment(self.core.now + expires_s),
            "Parameters": request.get("Parameters", {}),
            "Status": "Pending",
            "StatusDetails": "Pending",
            "SentAt": self.core.now,
        }
        self.core.world.commands.append(command)
        self.core.after(expires_s, _reach(command, _WAITING, "TimedOut", "DeliveryTimedOut"))
        hardness = self.core.hardness
        if self.core.often(hardness.undelivered):
            self._undeliver(command)
        elif self.core.often(hardness.delayed):
            self._delay(command, self.core.chance.uniform(30, expires_s))
        else:
            self.core.after(self.core.timings.command_hidden_s, self._deliver(command))
        return {"Command": _aggregated(command)}

    def list_commands(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = request.get("InstanceId")
        commands = [
            _aggregated(command)
            for command in reversed(self.core.world.commands)
            if wanted in (None, *command["InstanceIds"])
        ]
        first, size = int(request.get("NextToken") or 0), request.get("MaxResults", 50)
        more = {"NextToken": str(first + size)} if len(commands) > first + size else {}
        return {"Commands": commands[first : first + size], **more}

    def list_command_invocations(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """By instance and status, as the only filter."""
        wanted, status = request.get("InstanceId"), _filtered(request, "Status")
        return {
            "CommandInvocations": [
                {
                    "CommandId": command["CommandId"],
                    "InstanceId": instance_id,
                    "DocumentName": command["DocumentName"],
                    "Comment": command["Comment"],
                    "Status": command["Status"],
                    "StatusDetails": command["StatusDetails"],
                }
                for command in reversed(self.core.world.commands)
                for instance_id in command["InstanceIds"]
                if wanted in (None, instance_id) and status in (None, command["Status"])
            ]
        }

    def describe_sessions(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Those of Session Manager that are open, by their target."""
        target = _filtered(request, "Target")
        open_now = self.core.world.sessions if request["State"] == "Active" else []
        return {
            "Sessions": [session for session in open_now if target in (None, session["Target"])]
        }

    def get_command_invocation(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Unknown right after the command was sent."""
        command = self._command(request)
        hidden = self.core.now < command["SentAt"] + self.core.timings.command_hidden_s
        if hidden or request["InstanceId"] not in command["InstanceIds"]:
            raise AwsError("InvocationDoesNotExist")
        return {
            "CommandId": command["CommandId"],
            "InstanceId": request["InstanceId"],
            "Comment": command["Comment"],
            "DocumentName": command["DocumentName"],
            "ExecutionStartDateTime": command.get("StartedAt", ""),
            "ResponseCode": 0 if command["Status"] == "Success" else -1,
            "Status": command["Status"],
            "StatusDetails": command["StatusDetails"],
            "StandardOutputContent": command.get("Output", ""),
        }

    def cancel_command(self, request: Mapping[str, Any]) -> None:
        """What waits for its agent never runs; what runs may end before the agent hears of it."""
        command = self._command(request)
        waits = command["Status"] in _WAITING
        if waits or command["Status"] == "InProgress":
            command["Status"] = command["StatusDetails"] = "Cancelling"
            after_s = 0.0 if waits else self.core.timings.command_s
            self.core.after(after_s, _reach(command, {"Cancelling"}, "Cancelled"))

    def _undeliver(self, command: dict[str, Any]) -> None:
        lost = _reach(command, _WAITING, "Failed", "Undeliverable")
        if self.core.often(0.5):
            self.core.after(self.core.timings.command_s, lost)
        else:
            self.core.after(self.core.timings.command_s, _reach(command, _WAITING, "Delayed"))

    def _delay(self, command: dict[str, Any], seconds: float) -> None:
        self.core.after(self.core.timings.command_hidden_s, _reach(command, _WAITING, "Delayed"))
        self.core.after(seconds, self._deliver(command))

    def _deliver(self, command: dict[str, Any]) -> Callable[[], None]:
        """To an agent that listens; else it is tried again."""

        def deliver() -> None:
            if command["Status"] not in _WAITING:
                return
            instance = self.core.world.instances[command["InstanceIds"][0]]
            if not self.core.listens(instance):
                self._delay(command, self.core.timings.check_s)
                return
            _reach(command, _WAITING, "InProgress")()
            command["StartedAt"] = moment(self.core.now).isoformat()
            command["EndsBy"] = self.core.now + _EXECUTION_S
            self.core.after(self.core.timings.command_s, self._finish(command))

        return deliver

    def _finish(self, command: dict[str, Any]) -> Callable[[], None]:
        def finish() -> None:
            if command["Status"] != "InProgress":
                return
            (instance_id,) = command["InstanceIds"]
            instance = self.core.world.instances[instance_id]
            name = command["DocumentName"]
            result: tuple[bool, str] | None = (False, f"{name} on {instance_id}\n")
            if self.core.listens(instance) and not self.core.often(self.core.hardness.failing):
                result = self.core.hosts.document_result(command["CommandId"], instance_id, name)
            if result is None:
                if self.core.now >= command["EndsBy"]:
                    _reach(command, {"InProgress"}, "TimedOut", "ExecutionTimedOut")()
                else:
                    self.core.after(_POLL_S, finish)
                return
            # Empty until the command has ended, and of at most 24,000 characters.
            succeeds, command["Output"] = result
            _reach(command, {"InProgress"}, "Success" if succeeds else "Failed")()

        return finish

    def _command(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for command in self.core.world.commands:
            if command["CommandId"] == request["CommandId"]:
                return command
        raise AwsError("InvocationDoesNotExist")


def _reach(
    command: dict[str, Any], by: frozenset[str] | set[str], to: str, details: str = ""
) -> Callable[[], None]:
    def reach() -> None:
        if command["Status"] in by:
            command["Status"], command["StatusDetails"] = to, details or to

    return reach


def _aggregated(command: Mapping[str, Any]) -> dict[str, Any]:
    """A command has no status Delayed: only its invocations have."""
    shown = {name: command[name] for name in _SHOWN}
    return shown | ({"Status": "InProgress"} if command["Status"] == "Delayed" else {})


def _filtered(request: Mapping[str, Any], key: str) -> str | None:
    """The value of the filter with this key. Raises AwsError for another one."""
    for condition in request.get("Filters", ()):
        if condition["key"] != key:
            raise AwsError("InvalidFilterKey", condition["key"])
        return str(condition["value"])
    return None
