"""Lower how many instances an Auto Scaling group should have; the group chooses which go.

`desired` is absolute (`4`), a difference (`-1`) or a share of the present number (`-25%`, rounded
down). It is made absolute once, inside the claim, and held above the group's own minimum and
`keep_at_least`. What ran on the instances is gone; their number can be restored.

```yaml
- action: scale_in
  params: {desired: "-1", keep_at_least: 3}
```
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.action import (
    Action,
    Call,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    Settled,
    TargetKind,
    Undo,
)
from actions.fleet import NotActionableError, group

_RELATIVE = re.compile(r"-(\d{1,4})(%?)")


class Fewer(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^-\d{1,4}%?$")]
    )
    keep_at_least: Annotated[int, Field(ge=0, le=10_000)] = 0


class ScaleIn(Action):
    name: ClassVar[str] = "scale_in"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    impact: ClassVar[Impact] = Impact.DESTRUCTIVE
    converges: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SetDesiredCapacity",
    )
    params: ClassVar[type[Params]] = Fewer
    undone_by: ClassVar[str | None] = "set_desired_capacity"

    def resolve(self, call: Call) -> Mapping[str, Any]:
        found = group(call.aws, call.target)
        wanted = _absolute(call.params["desired"], found.desired)
        floor = max(found.minimum, call.params.get("keep_at_least", 0))
        held = max(floor, wanted)
        if held > found.desired or (held == found.desired and wanted < held):
            raise NotActionableError(
                f"{call.target} has {found.desired}, and {floor} are to stay at least"
            )
        return {"desired": held}

    def observe(self, call: Call) -> Observation:
        desired = group(call.aws, call.target).desired
        return Observation(already=desired == call.params["desired"], before={"desired": desired})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.set_desired_capacity(
            AutoScalingGroupName=call.target,
            DesiredCapacity=call.params["desired"],
            HonorCooldown=False,
        )
        return {}

    def reconcile(self, call: Call) -> Settled:
        desired = group(call.aws, call.target).desired
        if desired == call.params["desired"]:
            return Settled(Outcome.CHANGED)
        same = desired == call.before["desired"]
        return Settled(Outcome.FAILED if same else Outcome.UNKNOWN)

    def progress(self, call: Call) -> Progress:
        found = group(call.aws, call.target)
        return Progress.DONE if len(found.members) <= found.desired else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("set_desired_capacity", {"desired": call.before["desired"]})

    def left(self, call: Call) -> bool:
        return bool(group(call.aws, call.target).desired == call.params["desired"])


def _absolute(desired: int | str, present: int) -> int:
    if isinstance(desired, int):
        return desired
    match = _RELATIVE.fullmatch(desired)
    if match is None:
        raise ValueError(f"desired: {desired!r} is neither a number, -n nor -n%")
    digits, percent = match.groups()
    return present - (present * int(digits) // 100 if percent else int(digits))
