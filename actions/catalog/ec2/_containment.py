"""Base of containment: a host that AWS leaves in its group is not replaced by it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.group_behaviour import BALANCER_CHECKS, to_suspend
from actions.aws.groups import read_group
from actions.base import Action, Call, TargetKind
from actions.catalog.autoscaling.suspend_processes import SuspendProcesses
from actions.catalog.ec2._isolation import ISOLATE_PERMISSIONS, IsolationParams, with_group_id


class ContainsInstance(Action):
    """Where AWS refused to let the host leave, its group may not act on its health checks.

    The processes stay suspended until a person takes the host out of service.
    """

    target = TargetKind.INSTANCE
    removes_capacity = True
    idempotent = True
    permissions: ClassVar[tuple[str, ...]] = (
        *ISOLATE_PERMISSIONS,
        "autoscaling:DescribeAutoScalingGroups",
    )
    params = IsolationParams
    safeguard = SuspendProcesses()

    def bind(self, call: Call) -> Mapping[str, Any]:
        return with_group_id(call)

    def must_follow(self, call: Call) -> tuple[str, Mapping[str, Any]] | None:
        name = call.before.get("group", "")
        member = (group := read_group(call.aws, name)).members.get(call.target) if name else None
        if member is None or member.lifecycle != "InService":
            return None
        processes = to_suspend(group, member, BALANCER_CHECKS)
        return (name, {"processes": [*processes]}) if processes else None
