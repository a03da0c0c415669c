"""End a zonal shift before it expires: the zone gets traffic again.

It is refused while anything in the zone does not serve; groups keep their members as they are. It
rolls back `start_zonal_shift`, once the zone has been well for ten minutes (`well_s`).

```yaml
- action: cancel_zonal_shift
  params:
    shift: 9ac9ec1e-1df1-0755-3dc5-8cf57cd9c38b
    load_balancer: >-
      arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188
    zone: us-east-1a
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from actions.aws.groups import read_group
from actions.aws.target_errors import TooEarlyError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    TargetKind,
)
from actions.catalog.load_balancing._zones import read_shifts, require_well
from actions.catalog.load_balancing.start_zonal_shift import LoadBalancerArn, ZoneName

# A zone that comes and goes is not trusted at once.
_WELL_S = 600.0


class CancelZonalShiftParams(Params):
    """`well_s`: for so long the zone was not seen to be ill."""

    shift: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{6,36}$")]
    load_balancer: LoadBalancerArn
    zone: ZoneName
    well_s: float | None = None


class CancelZonalShift(Action):
    name = "cancel_zonal_shift"
    target = TargetKind.GROUP
    impact = Impact.REVERSIBLE
    allowed_during_changes = True
    idempotent = True
    permissions = (
        "arc-zonal-shift:CancelZonalShift",
        "arc-zonal-shift:GetManagedResource",
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    params = CancelZonalShiftParams

    def observe(self, call: Call) -> Observation:
        group = read_group(call.aws, call.target)
        if not self._is_active(call):
            return Observation(already=True, before={})
        zone, well_s = call.params["zone"], call.params.get("well_s")
        require_well(call.aws, group, zone)
        if well_s is not None and well_s < _WELL_S:
            raise TooEarlyError(f"{zone} is well for {well_s:.0f} s, and needs {_WELL_S:.0f}")
        return Observation(already=False, before={})

    def launches(self, params: Mapping[str, Any]) -> bool:
        del params
        return False

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.arc_zonal_shift.cancel_zonal_shift(zonalShiftId=call.params["shift"])
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.FAILED if self._is_active(call) else Outcome.CHANGED)

    @staticmethod
    def _is_active(call: Call) -> bool:
        return call.params["shift"] in read_shifts(call.aws, call.params["load_balancer"]).ids
