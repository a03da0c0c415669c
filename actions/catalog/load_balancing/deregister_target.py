"""Take one instance out of its load balancer's target groups, after its connections are drained.

It is taken out on each of its ports, by its id and by its addresses; the rollback registers exactly
these targets. The last healthy target is never taken out, and no healthy one without which the
target group has fewer healthy targets than its health settings ask for. A group that uses its load
balancer's health checks replaces a member that is no target, and one with a classic load balancer
cannot be served so; both are refused: use `enter_standby` for such groups.

```yaml
- action: deregister_target
```
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from actions.aws.group_behaviour import BALANCER_CHECKS, require_kept
from actions.aws.groups import Group, read_member
from actions.aws.target_errors import NotActionableError, make_in_turn
from actions.aws.target_health import Target, counts_by_zone, least_healthy, read_attributes
from actions.aws.waits import draining_s
from actions.base import Call, Observation
from actions.catalog.load_balancing._registration import (
    ENDS_WITHIN_S,
    ChangesRegistration,
    named,
    planned,
    target_groups_of,
    targets_of,
    to_arguments,
)


class DeregisterTarget(ChangesRegistration):
    name = "deregister_target"
    removes_capacity = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    undone_by = "register_target"
    registers = False
    # The longest deregistration delay that a target group may have.
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    takes_up_to_s = 3_600.0

    def observe(self, call: Call) -> Observation:
        group, member = read_member(call.aws, call.target)
        require_kept(group, member, BALANCER_CHECKS)
        wanted, targets = named(call), {}
        arns = list(wanted) or call.params.get("target_groups") or target_groups_of(group)
        for arn in arns:
            own, others = targets_of(call.aws, call.target, arn)
            if arn in wanted:
                own = [
                    target
                    for target in own
                    if {(target.id, target.port), (target.id, None)} & set(wanted[arn])
                ]
            if any(target.used for target in own):
                if not any(target.serves for target in others):
                    raise NotActionableError(
                        f"no healthy target but {call.target} is left in {arn}"
                    )
                if any(target.serves for target in own):
                    _require_enough_healthy(call, arn, group, others)
            if own:
                targets[arn] = [[target.id, target.port] for target in own]
        return Observation(already=not targets, before={"targets": targets})

    def lasts_up_to_s(self, call: Call) -> float:
        return draining_s(call.aws, planned(call)) + ENDS_WITHIN_S

    def act(self, call: Call) -> Mapping[str, Any]:
        deregister = call.aws.elbv2.deregister_targets
        make_in_turn(
            *(
                partial(deregister, **to_arguments(arn, targets))
                for arn, targets in planned(call).items()
            )
        )
        return {}


def _require_enough_healthy(call: Call, arn: str, group: Group, others: Sequence[Target]) -> None:
    """Raises NotActionableError where the load balancer would use the ill targets, too."""
    attributes = read_attributes(call.aws, arn)
    if counts_by_zone(attributes):
        zones = {member.id: member.az for member in group.members.values()}
        others = [one for one in others if zones.get(one.instance) == zones[call.target]]
    least = least_healthy(attributes, len(others))
    healthy = sum(target.serves for target in others)
    # One is asked for by default; that it stays was looked at before.
    if healthy < least > 1:
        raise NotActionableError(
            f"only {healthy} healthy targets but {call.target} would be left in {arn}, of the "
            f"{least} that its health settings ask for"
        )
