"""The zones of a load balancer: what serves in each, and from which one traffic is shifted away.

https://docs.aws.amazon.com/r53recovery/latest/dg/arc-zonal-shift.html
https://docs.aws.amazon.com/arc-zonal-shift/latest/api/API_GetManagedResource.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actions.aws.client_set import Aws
from actions.aws.groups import Group
from actions.aws.target_errors import NotActionableError
from actions.aws.target_health import Target, read_targets
from actions.base import Call


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """The shifts of a load balancer. `away` are ids of the zones that get no traffic.

    `by_comment` and `expiries` (epoch seconds, by id) are of the active shifts that people or this
    service started.
    """

    away: frozenset[str]
    zones: frozenset[str]
    by_comment: Mapping[str, str]
    expiries: Mapping[str, float]

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self.expiries)


def read_shifts(aws: Aws, balancer: str) -> Shifts:
    """Raises NotActionableError where ARC does not manage the balancer, and botocore's errors."""
    try:
        answer = aws.arc_zonal_shift.get_managed_resource(resourceIdentifier=balancer)
    except aws.arc_zonal_shift.exceptions.ResourceNotFoundException:
        raise NotActionableError(
            f"{balancer} is not enabled for zonal shift: set its attribute "
            "zonal_shift.config.enabled"
        ) from None
    weights = answer["appliedWeights"]
    return Shifts(
        away=frozenset(zone for zone, weight in weights.items() if weight == 0),
        zones=frozenset(weights),
        by_comment={shift["comment"]: shift["zonalShiftId"] for shift in answer["zonalShifts"]},
        expiries={
            shift["zonalShiftId"]: shift["expiryTime"].timestamp()
            for shift in answer["zonalShifts"]
        },
    )


def balancer_of(aws: Aws, group: Group) -> str:
    """The one load balancer of the group's target groups. Raises NotActionableError."""
    if not group.target_groups or group.other_balancers:
        raise NotActionableError(f"{group.name} is not behind target groups alone")
    answer = aws.elbv2.describe_target_groups(TargetGroupArns=[*group.target_groups])
    arns = {arn for described in answer["TargetGroups"] for arn in described["LoadBalancerArns"]}
    if len(arns) != 1:
        raise NotActionableError(
            f"{group.name} has {len(arns)} load balancers: name one as `load_balancer`"
        )
    return arns.pop()


def zone_id(aws: Aws, zone: str) -> str:
    """The id that is the same in each account, of a zone's name."""
    answer = aws.ec2.describe_availability_zones(ZoneNames=[zone])
    ids = [
        each.get("ZoneId", "")
        for each in answer["AvailabilityZones"]
        if each.get("ZoneName") == zone
    ]
    if len(ids) != 1:
        raise NotActionableError(f"zone {zone} does not exist")
    return ids[0]


def targets_by_zone(aws: Aws, group: Group, arn: str) -> Mapping[str, Sequence[Target]]:
    """The registered targets of a target group in use, by the name of their zone."""
    by_zone: dict[str, list[Target]] = {}
    for target in read_targets(aws, arn):
        if target.registered and target.used:
            member = group.members.get(target.instance)
            by_zone.setdefault(member.az if member else target.zone, []).append(target)
    return by_zone


def ill_zone(aws: Aws, group: Group) -> str:
    """The only zone in which not half of the targets serve. Raises NotActionableError."""
    ill = set()
    for arn in group.target_groups:
        for zone, targets in targets_by_zone(aws, group, arn).items():
            if 2 * sum(target.serves for target in targets) < len(targets):
                ill.add(zone)
    if len(ill) != 1:
        named = ", ".join(sorted(ill)) or "none"
        raise NotActionableError(
            f"traffic is shifted away from one zone; those in which {group.name} fails are: {named}"
        )
    return ill.pop()


def require_carried(call: Call, group: Group, zone: str) -> None:
    """Raises NotActionableError where the other zones would not carry the zone's traffic.

    Each has something that serves, and together they serve with all that is theirs: of three zones
    two thirds of the desired capacity. Where nothing serves, the balancer sends traffic everywhere,
    and a shift has no effect.
    https://docs.aws.amazon.com/r53recovery/latest/dg/arc-zonal-shift.resource-types.html
    """
    serving = set(group.in_service)
    for arn in group.target_groups:
        by_zone = targets_by_zone(call.aws, group, arn)
        healthy = {target.instance for each in by_zone.values() for target in each if target.serves}
        if by_zone and not healthy:
            raise NotActionableError(f"nothing serves in {arn}: a zonal shift has no effect")
        if by_zone:
            serving &= healthy
    others = [name for name in group.zones if name != zone]
    zones = {group.members[name].az for name in serving}
    if lacking := sorted(set(others) - zones) or ([] if others else ["any other zone"]):
        raise NotActionableError(f"{group.name} does not serve in {', '.join(lacking)}")
    units = sum(group.members[name].units for name in serving if group.members[name].az != zone)
    least = call.min_healthy * group.largest_units
    needed = max(group.desired * len(others) // len(group.zones), least)
    if units < needed:
        raise NotActionableError(
            f"the other zones of {group.name} serve with {units} {group.unit}, and would need "
            f"{needed}"
        )


def require_well(aws: Aws, group: Group, zone: str) -> None:
    """Raises NotActionableError unless all that is in the zone serves."""
    for arn in group.target_groups:
        targets = targets_by_zone(aws, group, arn).get(zone, ())
        serving = sum(target.serves for target in targets)
        if not targets or serving < len(targets):
            raise NotActionableError(f"{zone} is ill: {serving} of {len(targets)} targets serve")
