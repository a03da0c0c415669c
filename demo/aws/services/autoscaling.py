"""Auto Scaling's API. What it refuses, it refuses with the codes of AWS's service model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core
from demo.aws.services.described_groups import described
from demo.aws.services.groups import Groups
from demo.aws.world import GROUP_TAG, AwsError, Group, Member

_PAGE = 50
_PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)
_CONTENTION = (
    ("ResourceContention", "You already have a pending update to a resource."),
    ("ScalingActivityInProgress", "A scaling activity of the group is in progress."),
)


@dataclass
class AutoScaling:
    """Requests and answers as in the API reference.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/
    """

    core: Core
    groups: Groups

    def describe_auto_scaling_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        names = request.get("AutoScalingGroupNames")
        groups = [
            group for group in self.core.world.groups.values() if not names or group.name in names
        ]
        first = int(request.get("NextToken") or 0)
        last = first + int(request.get("MaxRecords") or _PAGE)
        more = {"NextToken": str(last)} if len(groups) > last else {}
        return {
            "AutoScalingGroups": [
                described(self.core.world, group) for group in groups[first:last]
            ],
            **more,
        }

    def describe_scaling_activities(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"Activities": self._group(request).activities[: request.get("MaxRecords", 100)]}

    def describe_lifecycle_hooks(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"LifecycleHooks": self._group(request).hooks}

    def set_desired_capacity(self, request: Mapping[str, Any]) -> None:
        """In units where the group has weights."""
        group, wanted = self._changing(request), request["DesiredCapacity"]
        for beyond, side, edge, bound in (
            (wanted < group.minimum, "below", "min", group.minimum),
            (wanted > group.maximum, "above", "max", group.maximum),
        ):
            if beyond:
                raise _invalid(
                    f"New SetDesiredCapacity value {wanted} is {side} {edge} value {bound} for the "
                    "AutoScalingGroup."
                )
        group.desired = wanted
        self.groups.converge(group)

    def terminate_instance_in_auto_scaling_group(
        self, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        group = self.core.world.group_of(request["InstanceId"])
        if group is None:
            raise _invalid(f"Instance Id not found - No managed instance {request['InstanceId']}")
        self._contend()
        member = group.members[request["InstanceId"]]
        if request["ShouldDecrementDesiredCapacity"]:
            self._lower(group, member)
        self.groups.terminate(group, member, "instance was taken out of service by a user request")
        return {"Activity": group.activities[0]}

    def enter_standby(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Down to the minimum, unless the group shall launch others.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html
        """
        group = self._changing(request)
        for member in self._members(group, request, "InService"):
            if request["ShouldDecrementDesiredCapacity"]:
                self._lower(group, member)
            self.groups.leave(group, member, "EnteringStandby", "Standby")
        return {"Activities": group.activities[:1]}

    def exit_standby(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._changing(request)
        for member in self._members(group, request, "Standby"):
            self._raise(group, member.units)
            self.groups.enter(group, member)
        return {"Activities": group.activities[:1]}

    def detach_instances(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._changing(request)
        for member in self._members(group, request, "InService", "Standby"):
            if request["ShouldDecrementDesiredCapacity"]:
                self._lower(group, member)
            self.groups.leave(group, member, "Detaching", "Detached")
        return {"Activities": group.activities[:1]}

    def attach_instances(self, request: Mapping[str, Any]) -> None:
        """A running instance of one of the group's zones, and of no group.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/attach-instance-asg.html
        """
        group = self._changing(request)
        for instance in map(self.core.instance, request["InstanceIds"]):
            if self.core.world.group_of(instance.id):
                raise _invalid(f"Instance {instance.id} is already part of an AutoScalingGroup.")
            if instance.state != "running" or instance.az not in group.zones:
                raise _invalid(f"Instance {instance.id} is not in correct state.")
            self._raise(group, group.weight or 1)
            member = Member(instance.id, instance.az, version=group.version, weight=group.weight)
            instance.tags[GROUP_TAG] = group.name
            group.members[instance.id] = member
            self.groups.enter(group, member)

    def suspend_processes(self, request: Mapping[str, Any]) -> None:
        group = self._changing(request)
        group.suspended |= set(request.get("ScalingProcesses") or _PROCESSES)

    def resume_processes(self, request: Mapping[str, Any]) -> None:
        """What was marked unhealthy meanwhile is replaced at once, what is missing launched."""
        group = self._changing(request)
        group.suspended -= set(request.get("ScalingProcesses") or _PROCESSES)
        if self.core.hardness.heals:
            self.groups.check(group)
        self.groups.converge(group)

    def set_instance_health(self, request: Mapping[str, Any]) -> None:
        """It needs no process: also while HealthCheck is suspended.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_SetInstanceHealth.html
        """
        group = self.core.world.group_of(request["InstanceId"])
        if group is None:
            raise _invalid(f"Instance Id not found - No managed instance {request['InstanceId']}")
        self._contend()
        group.members[request["InstanceId"]].health = request["HealthStatus"]

    def set_instance_protection(self, request: Mapping[str, Any]) -> None:
        group = self._changing(request)
        for member in self._members(group, request, "InService", "Pending", "Standby"):
            member.protected = request["ProtectedFromScaleIn"]

    def create_or_update_tags(self, request: Mapping[str, Any]) -> None:
        for tag in request["Tags"]:
            group = self._group({"AutoScalingGroupName": tag["ResourceId"]})
            group.tags[tag["Key"]] = tag.get("Value", "")

    def _lower(self, group: Group, member: Member) -> None:
        if group.desired - member.units < group.minimum:
            message = "Currently, desiredSize equals minSize"
            raise _invalid(f"AutoScalingGroup {group.name} has min-size {group.minimum}. {message}")
        group.desired -= member.units

    def _raise(self, group: Group, units: int) -> None:
        if "Launch" in group.suspended:
            raise _invalid(f"The process Launch of {group.name} is suspended.")
        if group.desired + units > group.maximum:
            raise _invalid(f"{group.name} would exceed its max-size of {group.maximum}.")
        group.desired += units

    def _members(self, group: Group, request: Mapping[str, Any], *states: str) -> list[Member]:
        members = [group.members.get(instance_id) for instance_id in request["InstanceIds"]]
        found = [member for member in members if member and member.lifecycle in states]
        if len(found) < len(members):
            raise _invalid(f"The instance {request['InstanceIds'][0]} is not in {states[0]}.")
        return found

    def _group(self, request: Mapping[str, Any]) -> Group:
        name = request["AutoScalingGroupName"]
        if name not in self.core.world.groups:
            raise _invalid(f"AutoScalingGroup name not found - no such group: {name}")
        return self.core.world.groups[name]

    def _changing(self, request: Mapping[str, Any]) -> Group:
        """The group of a call that changes it. Raises AwsError."""
        group = self._group(request)
        if group.status:
            raise _invalid(f"AutoScalingGroup {group.name} is pending delete.")
        self._contend()
        return group

    def _contend(self) -> None:
        if self.core.often(self.core.hardness.contended):
            code, message = self.core.chance.choice(_CONTENTION)
            raise AwsError(code, message)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
