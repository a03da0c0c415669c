"""Raise the desired capacity of an Auto Scaling group.

`desired` is absolute (`8`), a difference (`+2`) or a share of the desired capacity (`+50%`: rounded
up, at least one instance), in units where the group's instances have weights. It is made absolute
once, inside the claim, so that a repeated call asks for the same number. It never exceeds the
group's own maximum. A share of none is refused. Use `scale_in` to lower it.

The group launches the difference, where its zones have the fewest members; the step is under way
until they are in service, as long as lifecycle hooks hold them. It is refused where the group has
suspended Launch, or where its last launch failed for want of capacity or quota, or by its launch
template.

```yaml
- action: set_desired_capacity
  params: {desired: "+50%"}
  when: verdict.answer == "confirmed" and group.surging
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.group_behaviour import require_launches
from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError
from actions.aws.waits import launch_hooks_s
from actions.base import Call, Impact, Params, Progress
from actions.catalog.autoscaling._capacity import SetsCapacity, wished_capacity

# Several launches one after the other, and the health checks of a load balancer.
_LAUNCHES_WITHIN_S = 1_800.0


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
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:SetDesiredCapacity",
    )
    takes_up_to_s = _LAUNCHES_WITHIN_S

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
        if not call.reverses and desired > group.desired:
            require_launches(call.aws, group)
        return {"desired": desired}

    def lasts_up_to_s(self, call: Call) -> float:
        return launch_hooks_s(call.aws, call.target) + _LAUNCHES_WITHIN_S

    def progress(self, call: Call) -> Progress:
        """A group that was lowered again meanwhile is whole with less."""
        group = read_group(call.aws, call.target)
        whole = group.units_in_service >= min(group.desired, call.params["desired"])
        return Progress.DONE if whole else Progress.UNDERWAY
