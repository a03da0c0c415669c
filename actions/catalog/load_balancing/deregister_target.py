"""Take one instance out of its load balancer's target groups; what it serves is drained first.

The last healthy target is never taken out. A group with health checks by its load balancer may
replace an instance that is registered nowhere: `enter_standby` is the way there.

```yaml
- action: deregister_target
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_member
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
from actions.catalog.load_balancing.registration import TargetGroups, registered, states


class DeregisterTarget(Action):
    name: ClassVar[str] = "deregister_target"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    params: ClassVar[type[Params]] = TargetGroups
    undone_by: ClassVar[str | None] = "register_target"

    def observe(self, call: Call) -> Observation:
        group, _ = read_member(call.aws, call.target)
        arns = call.params.get("target_groups") or list(group.target_groups)
        mine = registered(call.aws, call.target, arns)
        for arn in mine:
            found = states(call.aws, arn)
            others = [one for one, state in found.items() if state == "healthy"]
            if not set(others) - {call.target}:
                raise NotActionableError(f"no other healthy target is left in {arn}")
        return Observation(already=not mine, before={"target_groups": mine})

    def act(self, call: Call) -> Mapping[str, Any]:
        for arn in call.before["target_groups"]:
            call.aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": call.target}])
        return {}

    def read_back(self, call: Call) -> CallResult:
        arns = call.before["target_groups"]
        there = registered(call.aws, call.target, arns)
        if not there:
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.FAILED if len(there) == len(arns) else Outcome.UNKNOWN)

    def progress(self, call: Call) -> Progress:
        found = (states(call.aws, arn) for arn in call.before["target_groups"])
        over = all(one.get(call.target, "unused") == "unused" for one in found)
        return Progress.DONE if over else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("register_target", {"target_groups": call.before["target_groups"]})

    def unchanged_since(self, call: Call) -> bool:
        return not registered(call.aws, call.target, call.before["target_groups"])
