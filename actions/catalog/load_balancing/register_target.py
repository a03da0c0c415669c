"""Put one running instance back into its load balancer's target groups.

```yaml
- action: register_target
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_group, read_instance
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


class RegisterTarget(Action):
    name: ClassVar[str] = "register_target"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    allowed_during_changes: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:RegisterTargets",
    )
    params: ClassVar[type[Params]] = TargetGroups
    undone_by: ClassVar[str | None] = "deregister_target"

    def observe(self, call: Call) -> Observation:
        found = read_instance(call.aws, call.target)
        if found.state != "running":
            raise NotActionableError(f"{call.target} is {found.state}")
        arns = call.params.get("target_groups") or (
            list(read_group(call.aws, found.group).target_groups) if found.group else []
        )
        if not arns:
            raise NotActionableError(f"{call.target} belongs to no target group")
        there = registered(call.aws, call.target, arns)
        missing = [arn for arn in arns if arn not in there]
        return Observation(already=not missing, before={"target_groups": missing})

    def act(self, call: Call) -> Mapping[str, Any]:
        for arn in call.before["target_groups"]:
            call.aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": call.target}])
        return {}

    def read_back(self, call: Call) -> CallResult:
        arns = call.before["target_groups"]
        there = registered(call.aws, call.target, arns)
        if len(there) == len(arns):
            return CallResult(Outcome.CHANGED)
        return CallResult(Outcome.UNKNOWN if there else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        found = (states(call.aws, arn) for arn in call.before["target_groups"])
        well = all(one.get(call.target) == "healthy" for one in found)
        return Progress.DONE if well else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        return Undo("deregister_target", {"target_groups": call.before["target_groups"]})

    def unchanged_since(self, call: Call) -> bool:
        arns = call.before["target_groups"]
        return len(registered(call.aws, call.target, arns)) == len(arns)
