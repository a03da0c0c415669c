"""Base of registering an instance in target groups and deregistering it."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from actions.aws.client_set import Aws
from actions.aws.target_health import UNREGISTERED, read_target_states
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Outcome,
    Params,
    Progress,
    TargetKind,
    Undo,
)

TargetGroupArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/[\w-]+/\w+$"
    ),
]


class RegistrationParams(Params):
    """Target groups of the instance's Auto Scaling group; by default all of them."""

    target_groups: Annotated[list[TargetGroupArn], Field(max_length=20)] = Field(
        default_factory=list
    )


def registered(aws: Aws, instance_id: str, arns: Sequence[str]) -> list[str]:
    """The given target groups that send traffic to the instance."""
    return [
        arn
        for arn in arns
        if read_target_states(aws, arn).get(instance_id, "unused") not in UNREGISTERED
    ]


class ChangesRegistration(Action):
    """Registers the instance, or else deregisters it; `final` is its health state after that."""

    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    idempotent = True
    params = RegistrationParams
    registers: ClassVar[bool]
    final: ClassVar[str]

    def read_back(self, call: Call) -> CallResult:
        changed = self._changed(call)
        if len(changed) == len(call.before["target_groups"]):
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.UNKNOWN if changed else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        states = (read_target_states(call.aws, arn) for arn in call.before["target_groups"])
        finished = all(state.get(call.target, "unused") == self.final for state in states)
        return Progress.DONE if finished else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        params = {"target_groups": call.before["target_groups"]}
        return Undo(self.undone_by, params) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        return len(self._changed(call)) == len(call.before["target_groups"])

    def _changed(self, call: Call) -> list[str]:
        arns = call.before["target_groups"]
        present = registered(call.aws, call.target, arns)
        return [arn for arn in arns if (arn in present) is self.registers]
