"""Shift a load balancer's traffic away from one zone for a while, by ARC's zonal shift.

Without `zone` it is the only one in which not half of the targets serve. It is refused unless the
other zones serve with all that is theirs (of three zones, two thirds of the desired capacity), and
where the balancer has failed open, since nothing serves in a target group: then a shift has no
effect. The balancer's attribute `zonal_shift.config.enabled` must be set; of a network balancer in
front of an application balancer, name the network balancer.

AWS ends the shift after `minutes`. Once the run has ended and the zone has been well for ten
minutes, `cancel_zonal_shift` ends it earlier, unless a person has changed its comment or its end
meanwhile: then it is theirs.

```yaml
- action: start_zonal_shift
  params: {minutes: 120}
  when: group.one_zone
  ask: true
```

https://docs.aws.amazon.com/r53recovery/latest/dg/arc-zonal-shift.html
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    TargetKind,
    Undo,
)
from actions.catalog.load_balancing._zones import (
    balancer_of,
    ill_zone,
    read_shifts,
    require_carried,
    zone_id,
)

LoadBalancerArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:loadbalancer/(app|net)/[\w-]+/\w+$"
    ),
]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,}(-[a-z0-9]+)+$")]


class StartZonalShiftParams(Params):
    """`zone` is a name; AWS allows three days."""

    zone: ZoneName | None = None
    load_balancer: LoadBalancerArn | None = None
    minutes: Annotated[int, Field(ge=1, le=4_320)] = 60


class StartZonalShift(Action):
    name = "start_zonal_shift"
    target = TargetKind.GROUP
    impact = Impact.REVERSIBLE
    released_at_end = True
    # ARC refuses a second shift of a balancer.
    idempotent = True
    permissions = (
        "arc-zonal-shift:GetManagedResource",
        "arc-zonal-shift:StartZonalShift",
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    params = StartZonalShiftParams
    undone_by = "cancel_zonal_shift"
    # "It can take a short time, typically up to a few minutes" for connections to end.
    # https://docs.aws.amazon.com/arc-zonal-shift/latest/api/API_StartZonalShift.html
    takes_up_to_s = 300.0

    def bind(self, call: Call) -> Mapping[str, Any]:
        group = read_group(call.aws, call.target)
        balancer = call.params.get("load_balancer") or balancer_of(call.aws, group)
        zone = call.params.get("zone") or ill_zone(call.aws, group)
        return {**call.params, "load_balancer": balancer, "zone": zone}

    def observe(self, call: Call) -> Observation:
        group, zone = read_group(call.aws, call.target), call.params["zone"]
        away = zone_id(call.aws, zone)
        shifts = read_shifts(call.aws, call.params["load_balancer"])
        before = {"zone_id": away}
        if away in shifts.away:
            return Observation(already=True, before=before)
        if away not in shifts.zones:
            raise NotActionableError(f"{call.params['load_balancer']} is not in {zone}")
        if shifts.away or shifts.ids:
            raise NotActionableError(
                f"traffic is shifted away from {', '.join(sorted(shifts.away))} already"
            )
        require_carried(call, group, zone)
        return Observation(already=False, before=before)

    def launches(self, params: Mapping[str, Any]) -> bool:
        del params
        return False

    def act(self, call: Call) -> Mapping[str, Any]:
        answer = call.aws.arc_zonal_shift.start_zonal_shift(
            resourceIdentifier=call.params["load_balancer"],
            awayFrom=call.before["zone_id"],
            expiresIn=f"{call.params['minutes']}m",
            comment=_comment(call),
        )
        return {"shift": answer["zonalShiftId"], "expires_at": answer["expiryTime"].timestamp()}

    def read_back(self, call: Call) -> CallResult:
        shifts = read_shifts(call.aws, call.params["load_balancer"])
        shift = shifts.by_comment.get(_comment(call))
        if shift is None:
            return CallResult(Outcome.FAILED)
        made = {"shift": shift, "expires_at": shifts.expiries[shift]}
        return CallResult(Outcome.CHANGED, made)

    def progress(self, call: Call) -> Progress:
        away = read_shifts(call.aws, call.params["load_balancer"]).away
        return Progress.DONE if call.before["zone_id"] in away else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        if "shift" not in call.made:
            return None
        kept = {name: call.params[name] for name in ("load_balancer", "zone")}
        shift = {"shift": call.made["shift"], "well_s": call.unrefused_s}
        return Undo("cancel_zonal_shift", kept | shift)

    def unchanged_since(self, call: Call) -> bool:
        """Whether it is active as it was started: a person who updates a shift takes it over.

        https://docs.aws.amazon.com/arc-zonal-shift/latest/api/API_UpdateZonalShift.html
        """
        shifts = read_shifts(call.aws, call.params["load_balancer"])
        shift = call.made.get("shift")
        if shift is None or shifts.by_comment.get(_comment(call)) != shift:
            return False
        expires_at = shifts.expiries[shift]
        return bool(expires_at == call.made.get("expires_at", expires_at))


def _comment(call: Call) -> str:
    return f"smartcloudops {call.token}"
