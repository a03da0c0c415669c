"""Instance refreshes: a group's members are replaced one at a time by ones of another version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.services.groups import Groups
from demo.aws.world import AwsError, Group, Member

_REPLACING = {"InProgress": "Successful", "RollbackInProgress": "RollbackSuccessful"}
_FAILED = {"InProgress": "Failed", "RollbackInProgress": "RollbackFailed"}
# "up to 60 minutes after it reaches the minimum healthy threshold before it eventually fails"
_PATIENCE_S = 3_600.0
_ACTIVE = frozenset({"Pending", "Cancelling", "Baking", *_REPLACING})
_ENDABLE = frozenset({"Pending", "InProgress", "Baking"})
# The difference of its percentages.
_WIDEST = 100
_NEEDED = frozenset({"InstanceRefresh", "Launch", "Terminate"})
_SHOWN = (
    "InstanceRefreshId",
    "AutoScalingGroupName",
    "Status",
    "StartTime",
    "EndTime",
    "DesiredConfiguration",
)


@dataclass
class InstanceRefreshes:
    """A group has at most one that is active. Its minimum healthy percentage is taken for 90.

    What it launches becomes the group's own launch template when it succeeds. It fails where the
    group does not become whole in time.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh.html
    """

    core: Core
    groups: Groups

    def describe_instance_refreshes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        refreshes = [
            {name: refresh[name] for name in _SHOWN if refresh.get(name)}
            for refresh in self._group(request).refreshes[: request.get("MaxRecords", 50)]
        ]
        return {"InstanceRefreshes": refreshes}

    def start_instance_refresh(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(request)
        _check_percentages(group, request.get("Preferences") or {})
        if any(refresh["Status"] in _ACTIVE for refresh in group.refreshes):
            message = f"An instance refresh of {group.name} is in progress"
            raise AwsError("InstanceRefreshInProgress", message)
        desired = request.get("DesiredConfiguration") or {}
        template = desired.get("LaunchTemplate")
        if template:
            group.refreshed_to = (template["LaunchTemplateId"], template["Version"])
        skips = request.get("Preferences", {}).get("SkipMatching", False)
        refresh = {
            "InstanceRefreshId": f"00000000-0000-4000-8000-{len(group.refreshes):012x}",
            "AutoScalingGroupName": group.name,
            "Status": "Pending",
            "StartTime": moment(self.core.now),
            "DesiredConfiguration": desired,
            "Old": () if skips else tuple(group.members),
        }
        group.refreshes.insert(0, refresh)

        def begin() -> None:
            if refresh["Status"] == "Pending":
                refresh["Status"] = "InProgress"
                self._replace_next(group, refresh)

        self.core.after(self.core.timings.move_s, begin)
        return {"InstanceRefreshId": refresh["InstanceRefreshId"]}

    def cancel_instance_refresh(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What was replaced stays.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/cancel-instance-refresh.html
        """
        group, refresh = self._active(request)
        refresh["Status"], group.refreshed_to = "Cancelling", None

        def end() -> None:
            refresh["Status"], refresh["EndTime"] = "Cancelled", moment(self.core.now)

        self.core.after(self.core.timings.refresh_member_s, end)
        return {"InstanceRefreshId": refresh.get("InstanceRefreshId", "")}

    def rollback_instance_refresh(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Refused without a desired configuration, or a numbered version to return to.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html
        """
        group, refresh = self._active(request)
        if not refresh.get("DesiredConfiguration") or group.version.startswith("$"):
            message = "The instance refresh has no desired configuration to be rolled back from"
            raise AwsError("IrreversibleInstanceRefresh", message)
        refresh["Status"], group.refreshed_to = "RollbackInProgress", None
        self._replace_next(group, refresh)
        return {"InstanceRefreshId": refresh["InstanceRefreshId"]}

    def _replace_next(self, group: Group, refresh: dict[str, Any]) -> None:
        """Replace a member once the group is whole, and look again later."""
        if refresh["Status"] not in _REPLACING:
            return
        whole = group.capacity("InService") >= group.desired
        whole_at = self.core.now if whole else refresh.setdefault("WholeAt", self.core.now)
        refresh["WholeAt"] = whole_at
        if self.core.now - whole_at >= _PATIENCE_S:
            self._end(group, refresh, _FAILED)
            return
        if whole and not _NEEDED & group.suspended:
            old = [member for member in group.members.values() if _is_old(group, refresh, member)]
            if not old:
                self._end(group, refresh, _REPLACING)
                return
            self.groups.terminate(group, old[0], "instance refresh")
        again_s = self.core.timings.refresh_member_s
        self.core.after(again_s, lambda: self._replace_next(group, refresh))

    def _end(self, group: Group, refresh: dict[str, Any], ends: Mapping[str, str]) -> None:
        refresh["Status"] = ends[refresh["Status"]]
        refresh["EndTime"] = moment(self.core.now)
        if group.refreshed_to and refresh["Status"] == "Successful":
            group.template, group.version = group.refreshed_to
        group.refreshed_to = None

    def _active(self, request: Mapping[str, Any]) -> tuple[Group, dict[str, Any]]:
        group = self._group(request)
        for refresh in group.refreshes:
            if refresh["Status"] in _ENDABLE:
                return group, refresh
        message = f"No instance refresh of {group.name} is in progress"
        raise AwsError("ActiveInstanceRefreshNotFound", message)

    def _group(self, request: Mapping[str, Any]) -> Group:
        name = request["AutoScalingGroupName"]
        if name not in self.core.world.groups:
            message = f"AutoScalingGroup name not found - no such group: {name}"
            raise AwsError("ValidationError", message)
        return self.core.world.groups[name]


def _check_percentages(group: Group, preferences: Mapping[str, Any]) -> None:
    """What is not given is the maintenance policy's. Raises AwsError.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html
    """
    asked = {**group.upkeep, **preferences}
    least, largest = asked.get("MinHealthyPercentage", 90), asked.get("MaxHealthyPercentage", 100)
    if "MaxHealthyPercentage" in preferences and "MinHealthyPercentage" not in preferences:
        raise AwsError("ValidationError", "MinHealthyPercentage must be specified as well")
    if largest - least > _WIDEST:
        message = "The difference between MaxHealthyPercentage and MinHealthyPercentage exceeds 100"
        raise AwsError("ValidationError", message)


def _is_old(group: Group, refresh: Mapping[str, Any], member: Member) -> bool:
    rolls_back = refresh["Status"] == "RollbackInProgress"
    outdated = (member.template, member.version) != group.launches
    return member.lifecycle == "InService" and (
        outdated or (not rolls_back and member.id in refresh["Old"])
    )
