"""Lower the desired capacity of an Auto Scaling group, which chooses the instances to terminate.

`desired` is absolute (`4`), a difference (`-1`) or a share of the desired capacity (`-25%`: rounded
up, at least one instance), in units where the group's instances have weights. It is made absolute
once, inside the claim, and kept above the group's own minimum, the playbook's `min_healthy` and
`keep_at_least`. The instances are lost; their number can be restored.

The group takes members of the zone that has the most, none that is protected from scale-in, and
drains them first; the step is under way as long as lifecycle hooks hold them. A warm pool may take
them back. It is refused where the group has suspended Terminate.

```yaml
- action: scale_in
  params: {desired: "-1", keep_at_least: 3}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.group_behaviour import require_processes
from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError
from actions.aws.waits import leaving_s
from actions.base import Call, Impact, Params, Progress
from actions.catalog.autoscaling._capacity import SetsCapacity, wished_capacity

# EC2 stops a system by force after some minutes.
_TERMINATES_WITHIN_S = 600.0


class ScaleInParams(Params):
    desired: (
        Annotated[int, Field(ge=0, le=10_000)]
        | Annotated[str, StringConstraints(pattern=r"^-[1-9]\d{0,3}%?$")]
    )
    keep_at_least: Annotated[int, Field(ge=0, le=10_000)] = 0


class ScaleIn(SetsCapacity):
    name = "scale_in"
    impact = Impact.DESTRUCTIVE
    removes_members = True
    # Members drain, for up to an hour.
    takes_up_to_s = 3_600.0
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:SetDesiredCapacity",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
    )
    params = ScaleInParams
    undone_by = "set_desired_capacity"

    def bind(self, call: Call) -> Mapping[str, Any]:
        group = read_group(call.aws, call.target)
        wanted = wished_capacity(group, call.params["desired"])
        healthy = call.min_healthy * group.largest_units
        floor = max(group.minimum, call.params.get("keep_at_least", 0), healthy)
        desired = max(floor, wanted)
        if desired > group.desired or (desired == group.desired and wanted < desired):
            raise NotActionableError(
                f"{call.target} has {group.desired} {group.unit} and must keep at least {floor}"
            )
        if not call.reverses:
            require_processes(group, "Terminate")
        return {"desired": desired}

    def lasts_up_to_s(self, call: Call) -> float:
        return leaving_s(call.aws, call.target) + _TERMINATES_WITHIN_S

    def progress(self, call: Call) -> Progress:
        """A group keeps what it cannot lose without falling below its desired capacity."""
        group = read_group(call.aws, call.target)
        members = [member for member in group.members.values() if "Standby" not in member.lifecycle]
        units = [member.units for member in members]
        reached = sum(units) - min(units, default=1) < group.desired
        return Progress.DONE if reached else Progress.UNDERWAY
