"""The processes of Auto Scaling that can be suspended: base of suspending and resuming them.

Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
"""

from abc import abstractmethod
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Literal

from pydantic import Field

from actions.aws.groups import read_group, recent_or_read
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    TargetKind,
    Undo,
)

Process = Literal[
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
]


class ProcessesParams(Params):
    """The processes, at least one: AWS reads an empty list as all processes."""

    processes: Annotated[list[Process], Field(min_length=1, max_length=9)]


class ChangesProcesses(Action):
    """Changes, and later rolls back, only processes that are not yet in the wanted state."""

    target = TargetKind.GROUP
    impact = Impact.REVERSIBLE
    idempotent = True
    params = ProcessesParams

    @abstractmethod
    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        """The requested processes that are not yet in the wanted state."""

    def observe(self, call: Call) -> Observation:
        suspended = recent_or_read(call.aws, call.target, call.group).suspended
        missing = sorted(self.missing(set(call.params["processes"]), suspended))
        return Observation(already=not missing, before={"processes": missing})

    def read_back(self, call: Call) -> CallResult:
        suspended = read_group(call.aws, call.target).suspended
        left = self.missing(set(call.before["processes"]), suspended)
        return CallResult(Outcome.FAILED if left else Outcome.CHANGED)

    def undo(self, call: Call) -> Undo | None:
        params = {"processes": call.before["processes"]}
        return Undo(self.undone_by, params) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        """Whether any of the processes is as the call left it; a person may have changed others."""
        processes = set(call.before["processes"])
        suspended = read_group(call.aws, call.target).suspended
        return self.missing(processes, suspended) < processes

    @staticmethod
    def arguments(call: Call) -> dict[str, Any]:
        """The arguments of the call to AWS."""
        return {"AutoScalingGroupName": call.target, "ScalingProcesses": call.before["processes"]}
