"""Raise the desired capacity of an Auto Scaling group.

`desired` is absolute (`8`), a difference (`+2`) or a share of the desired capacity (`+50%`: rounded
up, at least one instance), in units where the group's instances have weights. It is made absolute
once, inside the claim, so that a repeated call asks for the same number. It never exceeds the
group's own maximum. A share of none is refused. Use `scale_in` to lower it.

```yaml
- action: set_desired_capacity
  params: {desired: "+50%"}
  when: verdict.answer == "confirmed" and group.surging
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.group_behaviour import require_processes
from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Impact, Params
from actions.catalog.autoscaling._capacity import SetsCapacity, wished_capacity


class SetDesiredCapacityParams(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^\+[1-9]\d{0,3}%?$")]
    )


class SetDesiredCapacity(SetsCapacity):
    name = "set_desired_capacity"
    impact = Impact.REVERSIBLE
    params = SetDesiredCapacityParams
    undone_by = "scale_in"

    def bind(self, call: Call) -> Mapping[str, Any]:
        group = read_group(call.aws, call.target)
        wanted = wished_capacity(group, call.params["desired"])
        desired = max(group.minimum, min(group.maximum, wanted))
        if desired == group.desired and wanted != group.desired:
            raise NotActionableError(
                f"{call.target} is at its bound of {group.desired} {group.unit}"
            )
        if desired < group.desired:
            raise NotActionableError(
                f"{call.target} has {group.desired} {group.unit}, more than {desired}: use scale_in"
            )
        if not call.reverses:
            require_processes(group, "Launch")
        return {"desired": desired}
