"""Instance refreshes. Only their states are emulated: no instance is replaced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.world import AwsError, Group

_ACTIVE = frozenset({"Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking"})
_ENDABLE = frozenset({"Pending", "InProgress", "Baking"})


@dataclass
class InstanceRefreshes:
    """A group has at most one that is active.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-instance-refresh.html
    """

    core: Core

    def describe_instance_refreshes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        shown = ("InstanceRefreshId", "AutoScalingGroupName", "Status", "StartTime", "EndTime")
        refreshes = [
            {name: refresh[name] for name in shown if name in refresh}
            for refresh in self._group(request).refreshes[: request.get("MaxRecords", 50)]
        ]
        return {"InstanceRefreshes": refreshes}

    def start_instance_refresh(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(request)
        if any(refresh["Status"] in _ACTIVE for refresh in group.refreshes):
            message = f"An instance refresh of {group.name} is in progress"
            raise AwsError("InstanceRefreshInProgress", message)
        refresh = {
            "InstanceRefreshId": f"00000000-0000-4000-8000-{len(group.refreshes):012x}",
            "AutoScalingGroupName": group.name,
            "Status": "Pending",
            "StartTime": moment(self.core.now),
            "Desired": request.get("DesiredConfiguration"),
        }
        group.refreshes.insert(0, refresh)
        pending_s = self.core.timings.move_s
        lasts_s = self.core.timings.refresh_member_s * max(1, len(group.members))
        self.core.after(pending_s, self._reach(refresh, "Pending", "InProgress"))
        self.core.after(pending_s + lasts_s, self._reach(refresh, "InProgress", "Successful"))
        return {"InstanceRefreshId": refresh["InstanceRefreshId"]}

    def cancel_instance_refresh(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._end(self._active(request), "Cancelling", "Cancelled")

    def rollback_instance_refresh(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Refused without a desired configuration.

        https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html
        """
        refresh = self._active(request)
        if self.core.hardness.irreversible and not refresh.get("Desired"):
            message = "The instance refresh has no desired configuration to be rolled back from"
            raise AwsError("IrreversibleInstanceRefresh", message)
        return self._end(refresh, "RollbackInProgress", "RollbackSuccessful")

    def _end(self, refresh: dict[str, Any], by: str, to: str) -> dict[str, Any]:
        refresh["Status"] = by
        self.core.after(self.core.timings.refresh_member_s, self._reach(refresh, by, to))
        return {"InstanceRefreshId": refresh["InstanceRefreshId"]}

    def _active(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(request)
        for refresh in group.refreshes:
            if refresh["Status"] in _ENDABLE:
                return refresh
        message = f"No instance refresh of {group.name} is in progress"
        raise AwsError("ActiveInstanceRefreshNotFound", message)

    def _reach(self, refresh: dict[str, Any], by: str, to: str) -> Callable[[], None]:
        def reach() -> None:
            if refresh["Status"] == by:
                refresh["Status"] = to
                if to not in _ACTIVE:
                    refresh["EndTime"] = moment(self.core.now)

        return reach

    def _group(self, request: Mapping[str, Any]) -> Group:
        name = request["AutoScalingGroupName"]
        if name not in self.core.world.groups:
            message = f"AutoScalingGroup name not found - no such group: {name}"
            raise AwsError("ValidationError", message)
        return self.core.world.groups[name]
