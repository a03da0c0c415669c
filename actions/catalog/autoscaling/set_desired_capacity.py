"""Raise how many instances an Auto Scaling group should have.

`desired` is absolute (`8`), a difference (`+2`) or a share of the present number (`+50%`, rounded
up). It is made absolute once, inside the claim, so that a repetition asks for the same number, and
it is held below the group's own maximum. Fewer is what `scale_in` is for.

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

from actions.aws.inventory import NotActionableError, read_group
from actions.base import Call, Impact, Params
from actions.catalog.autoscaling.capacity import Capacity

_RELATIVE = re.compile(r"\+(\d{1,4})(%?)")


class Desired(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^\+\d{1,4}%?$")]
    )


class SetDesiredCapacity(Capacity):
    name: ClassVar[str] = "set_desired_capacity"
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    params: ClassVar[type[Params]] = Desired
    undone_by: ClassVar[str | None] = "scale_in"

    def bind(self, call: Call) -> Mapping[str, Any]:
        found = read_group(call.aws, call.target)
        wanted = _absolute(call.params["desired"], found.desired)
        held = max(found.minimum, min(found.maximum, wanted))
        if held == found.desired and wanted != found.desired:
            raise NotActionableError(f"{call.target} is at its bound of {found.desired}")
        if held < found.desired:
            raise NotActionableError(f"{held} is fewer than {call.target} has: use scale_in")
        return {"desired": held}


def _absolute(desired: int | str, present: int) -> int:
    if isinstance(desired, int):
        return desired
    match = _RELATIVE.fullmatch(desired)
    if match is None:
        raise ValueError(f"desired: {desired!r} is neither a number, +n nor +n%")
    digits, percent = match.groups()
    return present + (math.ceil(present * int(digits) / 100) if percent else int(digits))
