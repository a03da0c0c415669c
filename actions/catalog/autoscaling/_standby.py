"""Standby of a group's member: the base of entering and leaving it."""

from typing import ClassVar

from actions.aws.group_behaviour import require_processes
from actions.aws.groups import read_member
from actions.aws.instances import Instance
from actions.aws.target_errors import NotActionableError, StillChangingError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    TargetKind,
    Undo,
)
from actions.catalog.autoscaling._capacity import check_room

# A member changes its state, and its health checks pass: ten of them, 30 seconds apart.
CHANGES_WITHIN_S = 300.0


def require_running(instance: Instance) -> None:
    """Raises NotActionableError where the group would terminate the member on its return.

    "Stop and start the instances" is what standby is for; the health checks begin again afterwards.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-enter-exit-standby.html
    """
    if instance.state != "running":
        raise NotActionableError(
            f"{instance.id} is {instance.state}: its group would replace it in service; start it "
            "first"
        )


class ChangesStandby(Action):
    """A member goes from the lifecycle state `start` to one of `moves_to`.

    The same call makes AWS add `difference` times the member's units to the desired capacity.
    """

    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    idempotent = False
    start: ClassVar[str]
    difference: ClassVar[int]

    def observe(self, call: Call) -> Observation:
        group, member = read_member(call.aws, call.target)
        before = {"group": group.name, "desired": group.desired}
        if member.lifecycle in self.moves_to:
            return Observation(already=True, before=before)
        if member.lifecycle == "EnteringStandby":
            raise StillChangingError(f"{call.target} is {member.lifecycle}: {self.name} must wait")
        if member.lifecycle != self.start:
            raise NotActionableError(
                f"{call.target} is {member.lifecycle}: {self.name} needs a member in {self.start}"
            )
        if self.difference > 0:
            require_processes(group, "Launch")
        check_room(group, self.difference * member.units)
        return Observation(already=False, before=before)

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo(self.undone_by, {}) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        _, member = read_member(call.aws, call.target)
        return member.lifecycle in self.moves_to
