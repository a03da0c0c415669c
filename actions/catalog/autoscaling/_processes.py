"""The processes of Auto Scaling that can be suspended: base of suspending and resuming them.

Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
"""

from abc import abstractmethod
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Literal

from pydantic import Field

from actions.aws.groups import read_group
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
        suspended = read_group(call.aws, call.target).suspended
        missing = sorted(self.missing(set(call.params["processes"]), suspended))
        return Observation(already=not missing, before={"processes": missing})

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        params = {"processes": call.before["processes"]}
        return Undo(self.undone_by, params) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        suspended = read_group(call.aws, call.target).suspended
        return not self.missing(set(call.before["processes"]), suspended)

    @staticmethod
    def arguments(call: Call) -> dict[str, Any]:
        """The arguments of the call to AWS."""
        return {"AutoScalingGroupName": call.target, "ScalingProcesses": call.before["processes"]}
