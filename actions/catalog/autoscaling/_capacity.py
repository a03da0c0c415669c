"""The desired capacity of an Auto Scaling group, which may be counted in units."""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import Group, read_group
from actions.aws.target_errors import NotActionableError
from actions.base import Action, Call, CallResult, Observation, Outcome, TargetKind, Undo


def check_room(group: Group, units: int) -> None:
    """Raises NotActionableError where AWS would not add so many units to the desired capacity."""
    desired = group.desired + units
    for beyond, bound, limit in (
        (desired < group.minimum, "minimum", group.minimum),
        (desired > group.maximum, "maximum", group.maximum),
    ):
        if beyond:
            raise NotActionableError(
                f"{group.name} would have {desired} {group.unit}: its {bound} is {limit}"
            )


class SetsCapacity(Action):
    """Base of the actions that set the desired capacity. A repeated call sets the same value."""

    target = TargetKind.GROUP
    idempotent = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SetDesiredCapacity",
    )

    def observe(self, call: Call) -> Observation:
        desired = read_group(call.aws, call.target).desired
        return Observation(already=desired == call.params["desired"], before={"desired": desired})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.set_desired_capacity(
            AutoScalingGroupName=call.target,
            DesiredCapacity=call.params["desired"],
            HonorCooldown=False,
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        desired = read_group(call.aws, call.target).desired
        if desired == call.params["desired"]:
            return CallResult(Outcome.CHANGED)
        same = desired == call.before["desired"]
        return CallResult(Outcome.FAILED if same else Outcome.UNKNOWN)

    def undo(self, call: Call) -> Undo | None:
        params = {"desired": call.before["desired"]}
        return Undo(self.undone_by, params) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        return bool(read_group(call.aws, call.target).desired == call.params["desired"])
