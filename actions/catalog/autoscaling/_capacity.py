"""The desired capacity of an Auto Scaling group, which may be counted in units."""

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.groups import Group, read_group
from actions.aws.target_errors import NotActionableError
from actions.base import Action, Call, CallResult, Observation, Outcome, TargetKind, Undo

_RELATIVE = re.compile(r"([+-])(\d{1,4})(%?)")


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


def wished_capacity(group: Group, desired: int | str) -> int:
    """The capacity that `desired` means now: a number, `+2`, `-1`, `+50%` or `-25%`.

    A percentage is one of the desired capacity, rounded away from zero, and at least the units of
    the largest member, so that it changes at least one instance. AWS's own step scaling rounds
    toward zero instead, but also to one at least, and advises as much for weighted groups.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html

    Raises NotActionableError for a percentage of a desired capacity of 0.
    """
    if isinstance(desired, int):
        return desired
    match = _RELATIVE.fullmatch(desired)
    if match is None:
        raise ValueError(f"desired: {desired!r} is no number, difference or percentage")
    sign, difference = match[1], int(match[2])
    if match[3]:
        if group.desired == 0:
            raise NotActionableError(f"{group.name} has no instances: {desired} of none is none")
        difference = max(group.largest_units, math.ceil(group.desired * difference / 100))
    return group.desired + (difference if sign == "+" else -difference)


class SetsCapacity(Action):
    """Base of the actions that set the desired capacity. A repeated call sets the same value."""

    target = TargetKind.GROUP
    idempotent = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SetDesiredCapacity",
    )

    def observe(self, call: Call) -> Observation:
        desired = read_group(call.aws, call.target).desired
        return Observation(already=desired == call.params["desired"], before={"desired": desired})

    def act(self, call: Call) -> Mapping[str, Any]:
        """Raises NotActionableError where a policy or a person has set another capacity since."""
        now = read_group(call.aws, call.target).desired
        if now not in {call.before["desired"], call.params["desired"]}:
            raise NotActionableError(f"somebody changed the capacity of {call.target} to {now}")
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
