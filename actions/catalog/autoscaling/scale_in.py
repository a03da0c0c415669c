"""Lower the desired capacity of an Auto Scaling group, which chooses the instances to terminate.

`desired` is absolute (`4`), a difference (`-1`) or a share of the present number (`-25%`, rounded
down). It is made absolute once, inside the claim, and kept above the group's own minimum, the
playbook's `min_healthy` and `keep_at_least`. The instances are lost; their number can be restored.

```yaml
- action: scale_in
  params: {desired: "-1", keep_at_least: 3}
```
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Impact, Params, Progress
from actions.catalog.autoscaling._capacity import SetsCapacity

_RELATIVE = re.compile(r"-(\d{1,4})(%?)")


class ScaleInParams(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^-\d{1,4}%?$")]
    )
    keep_at_least: Annotated[int, Field(ge=0, le=10_000)] = 0


class ScaleIn(SetsCapacity):
    name = "scale_in"
    impact = Impact.DESTRUCTIVE
    removes_members = True
    params = ScaleInParams
    undone_by = "set_desired_capacity"

    def bind(self, call: Call) -> Mapping[str, Any]:
        group = read_group(call.aws, call.target)
        wanted = _absolute(call.params["desired"], group.desired)
        floor = max(group.minimum, call.params.get("keep_at_least", 0), call.min_healthy)
        desired = max(floor, wanted)
        if desired > group.desired or (desired == group.desired and wanted < desired):
            raise NotActionableError(
                f"{call.target} has {group.desired} instances and must keep at least {floor}"
            )
        return {"desired": desired}

    def progress(self, call: Call) -> Progress:
        group = read_group(call.aws, call.target)
        return Progress.DONE if len(group.members) <= group.desired else Progress.UNDERWAY


def _absolute(desired: int | str, present: int) -> int:
    if isinstance(desired, int):
        return desired
    match = _RELATIVE.fullmatch(desired)
    if match is None:
        raise ValueError(f"desired: {desired!r} is not a number, -n or -n%")
    digits, percent = match.groups()
    return present - (present * int(digits) // 100 if percent else int(digits))
