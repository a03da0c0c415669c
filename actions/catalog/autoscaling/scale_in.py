"""Lower how many instances an Auto Scaling group should have; the group chooses which go.

`desired` is absolute (`4`), a difference (`-1`) or a share of the present number (`-25%`, rounded
down). It is made absolute once, inside the claim, and held above the group's own minimum,
the playbook's `min_healthy` and `keep_at_least`. What ran on the
instances is gone; their number can be restored.

```yaml
- action: scale_in
  params: {desired: "-1", keep_at_least: 3}
```
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.aws.inventory import NotActionableError, read_group
from actions.base import Call, Impact, Params, Progress
from actions.catalog.autoscaling.capacity import Capacity

_RELATIVE = re.compile(r"-(\d{1,4})(%?)")


class Fewer(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^-\d{1,4}%?$")]
    )
    keep_at_least: Annotated[int, Field(ge=0, le=10_000)] = 0


class ScaleIn(Capacity):
    name: ClassVar[str] = "scale_in"
    impact: ClassVar[Impact] = Impact.DESTRUCTIVE
    params: ClassVar[type[Params]] = Fewer
    undone_by: ClassVar[str | None] = "set_desired_capacity"

    def bind(self, call: Call) -> Mapping[str, Any]:
        found = read_group(call.aws, call.target)
        wanted = _absolute(call.params["desired"], found.desired)
        floor = max(found.minimum, call.params.get("keep_at_least", 0), call.min_healthy)
        held = max(floor, wanted)
        if held > found.desired or (held == found.desired and wanted < held):
            raise NotActionableError(
                f"{call.target} has {found.desired}, and {floor} are to stay at least"
            )
        return {"desired": held}

    def progress(self, call: Call) -> Progress:
        found = read_group(call.aws, call.target)
        return Progress.DONE if len(found.members) <= found.desired else Progress.UNDERWAY


def _absolute(desired: int | str, present: int) -> int:
    if isinstance(desired, int):
        return desired
    match = _RELATIVE.fullmatch(desired)
    if match is None:
        raise ValueError(f"desired: {desired!r} is neither a number, -n nor -n%")
    digits, percent = match.groups()
    return present - (present * int(digits) // 100 if percent else int(digits))
