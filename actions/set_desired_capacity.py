"""Set how many instances an Auto Scaling group should have.

`desired` is absolute (`8`), a difference (`+2`, `-1`) or a share of the present number (`+50%`,
rounded away from zero). It is made absolute once, inside the claim, so that a repetition asks for
the same number, and it is held between the group's own minimum and maximum.

```yaml
- action: set_desired_capacity
  params: {desired: "+50%"}
  when: verdict.answer == "confirmed" and group.surging
```
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.action import Observation, Outcome, Params, TargetKind
from actions.aws import Aws
from actions.fleet import NotActionableError, group

_RELATIVE = re.compile(r"([+-])(\d{1,4})(%?)")


class Desired(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^[+-]\d{1,4}%?$")]
    )


class SetDesiredCapacity:
    name: ClassVar[str] = "set_desired_capacity"
    target: ClassVar[TargetKind] = TargetKind.GROUP
    converges: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SetDesiredCapacity",
    )
    params: ClassVar[type[Params]] = Desired

    def resolve(self, aws: Aws, target: str, params: Mapping[str, Any]) -> dict[str, Any]:
        found = group(aws, target)
        wanted = _absolute(params["desired"], found.desired)
        held = max(found.minimum, min(found.maximum, wanted))
        if held == found.desired and wanted != found.desired:
            bounds = f"{found.minimum} to {found.maximum}"
            raise NotActionableError(f"{target} is at {found.desired}, its bounds are {bounds}")
        return {"desired": held}

    def observe(self, aws: Aws, target: str, params: Mapping[str, Any]) -> Observation:
        found = group(aws, target)
        already = found.desired == params["desired"]
        return Observation(already=already, before={"desired": found.desired})

    def act(self, aws: Aws, target: str, params: Mapping[str, Any]) -> None:
        aws.autoscaling.set_desired_capacity(
            AutoScalingGroupName=target, DesiredCapacity=params["desired"], HonorCooldown=False
        )

    def reconcile(
        self, aws: Aws, target: str, params: Mapping[str, Any], before: Mapping[str, Any]
    ) -> Outcome:
        desired = group(aws, target).desired
        if desired == params["desired"]:
            return Outcome.CHANGED
        return Outcome.FAILED if desired == before["desired"] else Outcome.UNKNOWN

    def proof(self, target: str, dispatched_at: float) -> str | None:
        del target, dispatched_at
        return None


def _absolute(desired: int | str, present: int) -> int:
    if isinstance(desired, int):
        return desired
    match = _RELATIVE.fullmatch(desired)
    if match is None:
        raise ValueError(f"desired: {desired!r} is neither a number, +n, -n nor a percentage")
    sign, digits, percent = match.groups()
    size = math.ceil(present * int(digits) / 100) if percent else int(digits)
    return present + size if sign == "+" else present - size
