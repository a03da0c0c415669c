"""EC2: status checks, scheduled events and consoles of instances."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.listing import page
from demo.aws.world import AwsError, HostEvent, Instance

_MOST = 100
_CONSOLE_MAX = 65_536
# Its begin and its end.
_JPEG = b"\xff\xd8\xff\xd9"
_STOPS = frozenset({"instance-retirement", "instance-stop"})


@dataclass
class InstanceStatuses:
    """Answers as EC2's API reference and user guide have them.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceStatus.html
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleScreenshot.html
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
    """

    core: Core

    def describe_instance_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Of running instances, unless all are asked for."""
        wanted = request.get("InstanceIds")
        for instance_id in wanted or ():
            self.core.instance(instance_id)
        if wanted and request.get("MaxResults"):
            raise AwsError("InvalidParameterCombination", "InstanceIds and MaxResults")
        if len(wanted or ()) > _MOST:
            raise AwsError("InvalidParameterValue", f"at most {_MOST} instance ids")
        every = str(request.get("IncludeAllInstances", False)).lower() == "true"
        found = [
            self._described(instance)
            for instance in self.core.world.instances.values()
            if (not wanted or instance.id in wanted)
            and (every or instance.state == "running")
            and self._matches(instance, request.get("Filters", ()))
        ]
        found, more = page(found, request, _MOST if not wanted else len(found) + 1)
        return {"InstanceStatuses": found, **more}

    def get_console_output(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The last 64 KB; the latest ones only of a Nitro instance."""
        instance = self.core.instance(request["InstanceId"])
        if str(request.get("Latest", False)).lower() == "true" and not instance.nitro:
            raise AwsError("UnsupportedOperation", "the instance type has no latest output")
        text = self.core.hosts.console(instance)
        output = base64.b64encode(text.encode()[-_CONSOLE_MAX:]).decode()
        return {"InstanceId": instance.id, "Timestamp": moment(self.core.now), "Output": output}

    def get_console_screenshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A JPEG, of a running instance only."""
        instance = self.core.instance(request["InstanceId"])
        if instance.state != "running":
            raise AwsError("IncorrectInstanceState", f"{instance.id} is {instance.state}")
        return {"InstanceId": instance.id, "ImageData": base64.b64encode(_JPEG).decode()}

    def schedule(self, instance_id: str, code: str, in_s: float) -> HostEvent:
        """Schedule an event of the host, which happens unless the instance has left it."""
        event = HostEvent(self.core.new_id("instance-event"), code, self.core.now + in_s)
        self.core.world.instances[instance_id].events.append(event)
        self.core.after(in_s, self._happen(instance_id, event))
        return event

    def _happen(self, instance_id: str, event: HostEvent) -> Callable[[], None]:
        def happen() -> None:
            instance = self.core.world.instances[instance_id]
            if event.completed or instance.state != "running":
                return
            event.completed = True
            if event.code in _STOPS:
                # "stopped if it is backed by Amazon EBS, or terminated if ... instance store"
                instance.state = "stopped" if instance.root == "ebs" else "terminated"
                instance.state_reason = "Server.ScheduledStop"
            else:
                self.core.boot(instance, self.core.timings.boot_s)

        return happen

    def _checks(self, instance: Instance) -> dict[str, str]:
        """The state of each status check. A start of the instance resets them."""
        if instance.state != "running":
            return dict.fromkeys(("system", "instance", "ebs"), "not-applicable")
        usual = "initializing" if self.core.now < instance.up_at else "ok"
        checks = dict.fromkeys(("system", "instance", "ebs"), usual)
        if instance.impaired:
            # Without its host the instance is not reachable either.
            hit = ("system", "instance") if instance.impaired == "system" else (instance.impaired,)
            checks |= dict.fromkeys(hit, "impaired")
        return checks

    def _matches(self, instance: Instance, filters: Any) -> bool:
        checks = self._checks(instance)
        fields = {
            "instance-state-name": [instance.state],
            "system-status.status": [checks["system"]],
            "instance-status.status": [checks["instance"]],
            "attached-ebs-status.status": [checks["ebs"]],
            "event.code": [event.code for event in instance.events],
        }
        for condition in filters:
            if condition["Name"] not in fields:
                raise AwsError("InvalidParameterValue", f"the filter {condition['Name']}")
            if not set(fields[condition["Name"]]) & set(condition["Values"]):
                return False
        return True

    def _described(self, instance: Instance) -> dict[str, Any]:
        checks = self._checks(instance)
        summaries = {
            name: _summary(status, instance.impaired_at) for name, status in checks.items()
        }
        return {
            "InstanceId": instance.id,
            "AvailabilityZone": instance.az,
            "InstanceState": {"Name": instance.state},
            "SystemStatus": summaries["system"],
            "InstanceStatus": summaries["instance"],
            "AttachedEbsStatus": summaries["ebs"],
            "Events": [_event(event) for event in instance.events],
        }


def _summary(status: str, since: float) -> dict[str, Any]:
    if status == "not-applicable":
        return {"Status": status}
    result = {"ok": "passed", "impaired": "failed"}.get(status, status)
    detail: dict[str, Any] = {"Name": "reachability", "Status": result}
    if status == "impaired":
        detail["ImpairedSince"] = moment(since)
    return {"Status": status, "Details": [detail]}


def _event(event: HostEvent) -> dict[str, Any]:
    # EC2 tells by the description alone that an event is over.
    done = "[Completed] " if event.completed else ""
    return {
        "InstanceEventId": event.id,
        "Code": event.code,
        "Description": f"{done}The instance is running on degraded hardware",
        "NotBefore": moment(event.at),
        **({"NotAfter": moment(event.at + event.lasts_s)} if event.lasts_s else {}),
    }
