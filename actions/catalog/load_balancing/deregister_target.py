"""Take one instance out of its load balancer's target groups, after its connections are drained.

The last healthy target is never taken out. A group that uses the load balancer's health checks may
replace a deregistered instance; use `enter_standby` for such a group.

```yaml
- action: deregister_target
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_member
from actions.aws.target_errors import NotActionableError
from actions.aws.target_health import read_target_states
from actions.base import Call, Observation
from actions.catalog.load_balancing._registration import ChangesRegistration, registered


class DeregisterTarget(ChangesRegistration):
    name = "deregister_target"
    removes_capacity = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    undone_by = "register_target"
    registers = False
    final = "unused"

    def observe(self, call: Call) -> Observation:
        group, _ = read_member(call.aws, call.target)
        arns = call.params.get("target_groups") or list(group.target_groups)
        present = registered(call.aws, call.target, arns)
        for arn in present:
            states = read_target_states(call.aws, arn)
            healthy = {target for target, state in states.items() if state == "healthy"}
            if not healthy - {call.target}:
                raise NotActionableError(f"no healthy target but {call.target} is left in {arn}")
        return Observation(already=not present, before={"target_groups": present})

    def act(self, call: Call) -> Mapping[str, Any]:
        for arn in call.before["target_groups"]:
            call.aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": call.target}])
        return {}
