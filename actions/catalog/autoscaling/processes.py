"""The processes of Auto Scaling that can be suspended.

Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
"""

from abc import abstractmethod
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from actions.aws.inventory import read_group
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


class Processes(Params):
    """Never none: to AWS no name means all of them."""

    processes: Annotated[list[Process], Field(min_length=1, max_length=9)]


class ChangesProcesses(Action):
    """What suspending and resuming share: only those are changed that are not so yet."""

    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Params]] = Processes

    @abstractmethod
    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        """Those of the wanted processes that are not so yet."""

    def observe(self, call: Call) -> Observation:
        suspended = read_group(call.aws, call.target).suspended
        mine = sorted(self.missing(set(call.params["processes"]), suspended))
        return Observation(already=not mine, before={"mine": mine})

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        former = {"processes": call.before["mine"]}
        return Undo(self.undone_by, former) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        suspended = read_group(call.aws, call.target).suspended
        return not self.missing(set(call.before["mine"]), suspended)

    @staticmethod
    def asked(call: Call) -> dict[str, Any]:
        """The arguments of the call."""
        return {"AutoScalingGroupName": call.target, "ScalingProcesses": call.before["mine"]}
